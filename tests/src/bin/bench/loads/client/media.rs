//! Uploads and downloads: small pictures, and large files several at once, with what the server's memory does meanwhile.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tessera_tests::{api::Session, http};

use super::of;
use crate::{
    Options,
    figure::{Figure, figure},
    measure::{self, Window, as_f64},
    target::Target,
};

const MIB: usize = 1 << 20;

pub(super) async fn run(target: &mut Target, options: &Options) -> Result<Vec<Figure>> {
    let user = target.people.users(1).await?.into_iter().next().context("no user")?;
    let client = http::client()?;
    let mut figures = Vec::new();
    let before = target.rss_kib()?;
    for (name, size, workers, most) in
        [("media: 100 KiB", 100 << 10, 8, 400), ("media: 20 MiB", 20 * MIB, 4, 40)]
    {
        let ids = Arc::new(std::sync::Mutex::new(Vec::new()));
        let window = Window::open(target.pid)?;
        let (one, http, base, kept) =
            (user.clone(), client.clone(), target.base.clone(), ids.clone());
        let mut latencies = measure::run(workers, most, options.patience(), move |_, turn| {
            let (one, http, base, kept) = (one.clone(), http.clone(), base.clone(), kept.clone());
            async move {
                let id = upload(&http, &base, &one, bytes(size, turn)).await?;
                if let Ok(mut kept) = kept.lock() {
                    kept.push(id);
                }
                Ok(())
            }
        })
        .await?;
        let spent = window.close()?;
        figures.push(throughput(&format!("{name}: upload"), size, spent.rate(latencies.len())));
        figures.extend(of(&format!("{name}: upload"), spent, &mut latencies));

        let ids: Arc<Vec<String>> = Arc::new(ids.lock().map(|ids| ids.clone()).unwrap_or_default());
        let window = Window::open(target.pid)?;
        let (one, http, base) = (user.clone(), client.clone(), target.base.clone());
        let mut latencies = measure::run(workers, most, options.patience(), move |_, turn| {
            let (one, http, base, ids) = (one.clone(), http.clone(), base.clone(), ids.clone());
            async move {
                let id = ids.get(turn % ids.len()).context("nothing uploaded")?;
                let url = format!("{base}/_matrix/client/v1/media/download/{id}");
                let answer = http.get(url).bearer_auth(&one.token).send().await?;
                ensure!(answer.status().as_u16() == 200, "download: {}", answer.status());
                let got = answer.bytes().await?.len();
                ensure!(got == size, "{got} bytes of {size}");
                Ok(())
            }
        })
        .await?;
        let spent = window.close()?;
        figures.push(throughput(&format!("{name}: download"), size, spent.rate(latencies.len())));
        figures.extend(of(&format!("{name}: download"), spent, &mut latencies));
    }
    if let (Some(before), Some(after)) = (before, target.rss_kib()?) {
        figures.push(figure("media: memory grown", (after - before) / 1024.0, "MiB"));
    }
    Ok(figures)
}

/// Bytes that no other upload has.
fn bytes(size: usize, turn: usize) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(turn % 251).unwrap_or(0); size];
    for (byte, number) in bytes.iter_mut().zip(turn.to_le_bytes()) {
        *byte = number;
    }
    bytes
}

/// Uploads and gives `SERVER/ID`.
async fn upload(
    http: &reqwest::Client,
    base: &str,
    user: &Session,
    bytes: Vec<u8>,
) -> Result<String> {
    let answer = http
        .post(format!("{base}/_matrix/media/v3/upload"))
        .bearer_auth(&user.token)
        .header("content-type", "application/octet-stream")
        .body(bytes)
        .send()
        .await?;
    ensure!(answer.status().as_u16() == 200, "upload: {}", answer.status());
    let body: serde_json::Value = serde_json::from_slice(&answer.bytes().await?)?;
    let uri = tessera_tests::api::string(&body, "content_uri")?;
    Ok(uri.trim_start_matches("mxc://").to_owned())
}

fn throughput(name: &str, size: usize, rate: f64) -> Figure {
    figure(format!("{name}: throughput"), rate * as_f64(size) / as_f64(MIB), "MiB/s")
}
