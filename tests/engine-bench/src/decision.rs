//! The sandbox tax: the rooms decision in wasm against the same code native.

use std::{path::Path, time::Duration};

use anyhow::Result;

use crate::{
    Figure, calls,
    clock::{ROUNDS, middle, round},
    house::{House, PROVIDER},
};

/// Decisions of one call.
const BATCH: u32 = 200;

pub(crate) async fn run(fixtures: &Path, each: Duration) -> Result<Vec<Figure>> {
    let house = House::open(fixtures, |_| ()).await?;
    let times = BATCH.to_string();
    let mut wasm = async || calls::fire(&house.tenant, PROVIDER, "decide", &times).await;
    let mut native =
        async || tessera_bench_decision::decision::run(BATCH).map_err(anyhow::Error::msg);
    let (mut sandboxed, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    round(each / 4, BATCH, &mut wasm).await?;
    round(each / 4, BATCH, &mut native).await?;
    for _ in 0..ROUNDS {
        let (in_wasm, outside) =
            (round(each, BATCH, &mut wasm).await?, round(each, BATCH, &mut native).await?);
        sandboxed.push(in_wasm);
        bare.push(outside);
        ratios.push(in_wasm / outside);
    }
    Ok(vec![
        ("decision: in wasm", middle(&mut sandboxed), "µs"),
        ("decision: native", middle(&mut bare), "µs"),
        ("decision: wasm against native", middle(&mut ratios), "×"),
    ])
}
