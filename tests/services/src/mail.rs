//! A server that takes mail and keeps it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::Failure;

/// A message as it came.
#[derive(Debug, Clone, Default)]
pub struct Mail {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// Headers and body, lines ended by `\n`.
    pub raw: String,
    /// User and password, where the client told them (`AUTH PLAIN`).
    pub login: Option<(String, String)>,
}

impl Mail {
    /// A header of the message, folded lines joined; not decoded.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        header(self.raw.split("\n\n").next().unwrap_or_default(), name)
    }

    /// The plain text, decoded.
    #[must_use]
    pub fn text(&self) -> String {
        part(&self.raw, "text/plain").unwrap_or_default()
    }

    /// The HTML, decoded; empty if there is none.
    #[must_use]
    pub fn html(&self) -> String {
        part(&self.raw, "text/html").unwrap_or_default()
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    let mut lines = head.lines();
    let first = lines.by_ref().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })?;
    let folded = lines.take_while(|line| line.starts_with([' ', '\t']));
    Some(folded.fold(first, |all, line| format!("{all} {}", line.trim())))
}

/// The first part of this type in a message or one of its parts.
fn part(entity: &str, wanted: &str) -> Option<String> {
    let (head, body) = entity.split_once("\n\n")?;
    let kind = header(head, "Content-Type").unwrap_or_else(|| "text/plain".to_owned());
    if kind.starts_with("multipart/") {
        let (_, boundary) = kind.split_once("boundary=")?;
        let boundary = format!("--{}", boundary.trim_matches('"').split('"').next()?);
        return body
            .split(&boundary)
            .skip(1)
            .find_map(|entity| part(entity.trim_start_matches('\n'), wanted));
    }
    if !kind.starts_with(wanted) {
        return None;
    }
    let bytes = match header(head, "Content-Transfer-Encoding").as_deref() {
        Some("quoted-printable") => quoted(body),
        Some("base64") => base64(body),
        _ => body.as_bytes().to_vec(),
    };
    Some(String::from_utf8_lossy(&bytes).replace("\r\n", "\n"))
}

fn quoted(text: &str) -> Vec<u8> {
    let text = text.replace("=\n", "");
    let mut bytes = text.bytes();
    let mut all = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'=' {
            all.push(byte);
            continue;
        }
        let digits = [bytes.next().unwrap_or(b'0'), bytes.next().unwrap_or(b'0')];
        let digits = String::from_utf8_lossy(&digits);
        all.push(u8::from_str_radix(&digits, 16).unwrap_or(b'?'));
    }
    all
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|byte| ALPHABET.iter().position(|known| *known == byte));
    let (mut all, mut held, mut bits) = (Vec::new(), 0_u32, 0_u32);
    for digit in digits {
        held = (held << 6) | u32::try_from(digit).unwrap_or(0);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            all.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    all
}

type Kept = Arc<(Mutex<Vec<Mail>>, Condvar)>;

/// A running sink on loopback. A recipient that begins with `refused` is refused for good, one that begins with
/// `later` for now.
#[derive(Debug)]
pub struct MailSink {
    address: SocketAddr,
    kept: Kept,
}

impl MailSink {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port is free.
    pub fn start() -> Result<Self, Failure> {
        Self::start_with(|stream| Some(Box::new(stream)))
    }

    /// As [`MailSink::start`]; `wrap` makes what is spoken over out of a connection, such as TLS.
    ///
    /// # Errors
    /// No port is free.
    pub fn start_with<F>(wrap: F) -> Result<Self, Failure>
    where
        F: Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + Sync + 'static,
    {
        Self::run(wrap, true)
    }

    /// As [`MailSink::start`]; it knows no `EHLO` and no extension, as mail servers before RFC 1869.
    ///
    /// # Errors
    /// No port is free.
    pub fn start_old() -> Result<Self, Failure> {
        Self::run(|stream| Some(Box::new(stream)), false)
    }

    fn run<F>(wrap: F, extended: bool) -> Result<Self, Failure>
    where
        F: Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + Sync + 'static,
    {
        let failed = |error: std::io::Error| format!("no sink for mail: {error}");
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let kept = Kept::default();
        let keep = Arc::clone(&kept);
        let wrap = Arc::new(wrap);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (keep, wrap) = (Arc::clone(&keep), Arc::clone(&wrap));
                thread::spawn(move || {
                    if let Some(stream) = wrap(stream) {
                        let _ = dialog(stream, &keep, extended);
                    }
                });
            }
        });
        Ok(Self { address, kept })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lines for a descriptor.
    #[must_use]
    pub fn config(&self) -> String {
        format!("[mail]\nrelay = \"smtp://{}\"\nfrom = \"Test <test@localhost>\"\n", self.address)
    }

    /// What came so far.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.kept.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest of at least `count` mails to an address, as soon as there are so many; none within `patience`: none.
    #[must_use]
    pub fn wait(&self, to: &str, count: usize, patience: Duration) -> Option<Mail> {
        let until = Instant::now() + patience;
        let (mails, changed) = &*self.kept;
        let mut kept = mails.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let to = |mail: &&Mail| mail.to.iter().any(|one| one == to);
            if kept.iter().filter(to).count() >= count {
                return kept.iter().rfind(to).cloned();
            }
            let left = until.checked_duration_since(Instant::now())?;
            kept = changed.wait_timeout(kept, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What a dialogue is held over.
pub trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

fn dialog(stream: Box<dyn Stream>, kept: &Kept, extended: bool) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut mail = Mail::default();
    let mut login = None;
    stream.get_mut().write_all(b"220 sink\r\n")?;
    stream.get_mut().flush()?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        let upper = line.to_ascii_uppercase();
        let answer = if !extended && ["EHLO", "NOOP", "QUIT"].iter().any(|c| upper.starts_with(c)) {
            "500 unrecognized command".to_owned()
        } else if upper.starts_with("EHLO") {
            "250-sink\r\n250-AUTH PLAIN\r\n250 8BITMIME".to_owned()
        } else if let Some(told) = upper.strip_prefix("AUTH PLAIN ") {
            let told = base64(line.get(line.len() - told.len()..).unwrap_or_default());
            let told = String::from_utf8_lossy(&told).into_owned();
            let mut parts = told.split('\0').skip(1).map(str::to_owned);
            login = parts.next().zip(parts.next());
            "235 welcome".to_owned()
        } else if upper.starts_with("MAIL FROM:") {
            mail = Mail { from: address(line), login: login.clone(), ..Mail::default() };
            "250 ok".to_owned()
        } else if upper.starts_with("RCPT TO:") {
            let to = address(line);
            match () {
                () if to.starts_with("refused") => "550 nobody of this name".to_owned(),
                () if to.starts_with("later") => "451 try again later".to_owned(),
                () => {
                    mail.to.push(to);
                    "250 ok".to_owned()
                }
            }
        } else if upper == "DATA" {
            stream.get_mut().write_all(b"354 go on\r\n")?;
            stream.get_mut().flush()?;
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                let line = line.trim_end_matches(['\r', '\n']);
                if line == "." {
                    break;
                }
                mail.raw.push_str(line.strip_prefix('.').unwrap_or(line));
                mail.raw.push('\n');
            }
            let (mails, changed) = &**kept;
            let mail = std::mem::take(&mut mail);
            mails.lock().unwrap_or_else(PoisonError::into_inner).push(mail);
            changed.notify_all();
            "250 kept".to_owned()
        } else if upper == "QUIT" {
            stream.get_mut().write_all(b"221 bye\r\n")?;
            return stream.get_mut().flush();
        } else {
            "250 ok".to_owned()
        };
        stream.get_mut().write_all(format!("{answer}\r\n").as_bytes())?;
        stream.get_mut().flush()?;
    }
}

fn address(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map(|(address, _)| address.to_owned()).unwrap_or_default()
}
