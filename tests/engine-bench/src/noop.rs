//! An empty route of a plug-in against one of the edge itself and one of axum, all in one process.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tessera_tests::proc;

use crate::{
    Figure,
    clock::{ROUNDS, middle},
};

/// Connections that ask at once.
const CONNECTIONS: usize = 16;

pub(crate) fn run(fixtures: &Path, round: Duration) -> Result<Vec<Figure>> {
    let server = Serving::start(fixtures)?;
    let sides = [
        Side { address: server.edge, path: "/noop" },
        Side { address: server.edge, path: "/_tessera/native" },
        Side { address: server.axum, path: "/noop" },
    ];
    let pid = server.child.id();
    // CPU time of a process is counted in steps of 10 ms.
    let long = round.max(Duration::from_millis(1000));
    let (many, one) =
        (Rounds::run(&sides, pid, CONNECTIONS, long)?, Rounds::run(&sides, pid, 1, round)?);
    let share = many.ratio(|round| round.rate) * 100.0;
    let over = one.difference(|round| round.p50) * 1e6;
    Ok(vec![
        ("noop: requests through a plug-in", many.of(0, |round| round.rate), "/s"),
        ("noop: requests to a native axum handler", many.of(2, |round| round.rate), "/s"),
        ("noop: requests against native", share, "%"),
        ("noop: p50 over native", over, "µs"),
        ("noop: CPU through a plug-in", many.of(0, |round| round.cpu) * 1e6, "µs"),
        ("noop: CPU of the edge alone", many.of(1, |round| round.cpu) * 1e6, "µs"),
        ("noop: CPU of a native axum handler", many.of(2, |round| round.cpu) * 1e6, "µs"),
    ])
}

/// Plug-in, edge, axum: one round each, taken in turn.
struct Rounds(Vec<[Round; 3]>);

impl Rounds {
    fn run(sides: &[Side; 3], pid: u32, connections: usize, each: Duration) -> Result<Self> {
        for side in sides {
            side.ask(pid, connections, each / 4)?;
        }
        let [plugin, edge, axum] = sides;
        let rounds = (0..ROUNDS).map(|_| {
            Ok([
                plugin.ask(pid, connections, each)?,
                edge.ask(pid, connections, each)?,
                axum.ask(pid, connections, each)?,
            ])
        });
        rounds.collect::<Result<_>>().map(Self)
    }

    fn of(&self, side: usize, value: impl Fn(&Round) -> f64) -> f64 {
        let mut values: Vec<f64> =
            self.0.iter().filter_map(|round| round.get(side)).map(value).collect();
        middle(&mut values)
    }

    /// Plug-in over axum.
    fn ratio(&self, value: impl Fn(&Round) -> f64) -> f64 {
        middle(
            &mut self.0.iter().map(|[ours, _, axum]| value(ours) / value(axum)).collect::<Vec<_>>(),
        )
    }

    /// Plug-in less axum.
    fn difference(&self, value: impl Fn(&Round) -> f64) -> f64 {
        middle(
            &mut self.0.iter().map(|[ours, _, axum]| value(ours) - value(axum)).collect::<Vec<_>>(),
        )
    }
}

/// What a round saw.
struct Round {
    /// Requests a second.
    rate: f64,
    /// Seconds of the middle request.
    p50: f64,
    /// Seconds of the server's CPU for each request.
    cpu: f64,
}

struct Side {
    address: SocketAddr,
    path: &'static str,
}

impl Side {
    /// Asks on so many connections, a thread each: bare sockets cost the machine the least.
    fn ask(&self, pid: u32, connections: usize, patience: Duration) -> Result<Round> {
        let streams: Vec<TcpStream> = (0..connections)
            .map(|_| {
                let stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                Ok(stream)
            })
            .collect::<std::io::Result<_>>()?;
        let head =
            format!("GET {} HTTP/1.1\r\nhost: {}\r\naccept: */*\r\n\r\n", self.path, self.address);
        let (before, started) = (proc::cpu(pid)?, Instant::now());
        let latencies = std::thread::scope(|scope| {
            let threads: Vec<_> = streams
                .into_iter()
                .map(|stream| scope.spawn(|| exchange(stream, &head, started + patience)))
                .collect();
            let mut all = Vec::new();
            for thread in threads {
                let Ok(latencies) = thread.join() else { bail!("a client panicked") };
                all.extend(latencies?);
            }
            Ok(all)
        });
        let (wall, cpu) = (started.elapsed(), proc::cpu(pid)?.saturating_sub(before));
        let mut latencies: Vec<f64> = latencies?;
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        let count = latencies.len().max(1) as f64;
        Ok(Round {
            rate: count / wall.as_secs_f64(),
            p50: middle(&mut latencies),
            cpu: cpu.as_secs_f64() / count,
        })
    }
}

/// Asks again and again on one connection; seconds of each request.
fn exchange(mut stream: TcpStream, head: &str, end: Instant) -> Result<Vec<f64>> {
    let mut latencies = Vec::new();
    let mut buffer = [0_u8; 4096];
    while Instant::now() < end {
        let started = Instant::now();
        stream.write_all(head.as_bytes())?;
        let mut filled = 0;
        loop {
            let free = buffer.get_mut(filled..).filter(|free| !free.is_empty());
            let read = stream.read(free.context("the answer is too long")?)?;
            ensure!(read > 0, "the server closed the connection");
            filled += read;
            let answer = buffer.get(..filled).unwrap_or_default();
            // Every side answers `{}` with its length, as the end of the answer.
            if answer.ends_with(b"\r\n\r\n{}") {
                ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(answer));
                break;
            }
            ensure!(
                filled < 12 || answer.starts_with(b"HTTP/1.1 200"),
                "{}",
                String::from_utf8_lossy(answer)
            );
        }
        latencies.push(started.elapsed().as_secs_f64());
    }
    Ok(latencies)
}

/// The serving process; it ends with this value.
struct Serving {
    child: Child,
    edge: SocketAddr,
    axum: SocketAddr,
}

impl Serving {
    fn start(fixtures: &Path) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .arg("--fixtures")
            .arg(fixtures)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the server")?;
        let mut line = String::new();
        let output = child.stdout.take().context("no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let Some((edge, axum)) = line.trim().split_once(' ') else {
            child.wait()?;
            bail!("the server did not start");
        };
        Ok(Self { edge: edge.parse()?, axum: axum.parse()?, child })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It ends when its input does; this waits for that.
        drop(self.child.stdin.take());
        if let Err(error) = self.child.wait() {
            eprintln!("the serving process: {error}");
        }
    }
}
