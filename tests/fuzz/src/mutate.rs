//! Seeded mutations of a corpus: the bounded run of a fuzz target within the ordinary tests.
//!
//! The same inputs each time, so that a failure comes again. Included by path in the tests of each crate.

use std::path::{Path, PathBuf};

/// Longest input.
const LONGEST: usize = 4_096;
/// Mutations laid over one another in one input.
const LAYERS: usize = 6;
/// Inputs that were taken and are mutated further, beside the corpus.
const POOL: usize = 256;
/// Stack of the run: a parser goes as deep as its text.
const STACK: usize = 16 << 20;

/// Hands each file of `corpus/NAME` to `target`, then `rounds` mutations of them. At least one in twenty must get past
/// the first refusal, else nothing has been shown. `TESSERA_FUZZ_ROUNDS` in the environment goes before `rounds`.
pub(crate) fn run(name: &str, rounds: usize, target: fn(&[u8]) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(name);
    let corpus = read(&folder);
    let told = std::env::var("TESSERA_FUZZ_ROUNDS").ok();
    let rounds = told.map_or(rounds, |told| told.parse().unwrap());
    assert!(corpus.len() > 2, "too few files in {}", folder.display());
    let run = move || {
        for input in &corpus {
            call(target, input);
        }
        let words: Vec<&[u8]> = corpus.iter().flat_map(|input| words(input)).collect();
        let (mut taken, mut pool) = (0, corpus.clone());
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..rounds {
            let mut input = pool[random.below(pool.len())].clone();
            let layers = 1 + random.below(LAYERS);
            for _ in 0..=random.below(layers) {
                mutate(&mut input, &mut random, &corpus, &words);
            }
            input.truncate(LONGEST);
            if call(target, &input) {
                taken += 1;
                match pool.len() < corpus.len() + POOL {
                    true => pool.push(input),
                    // The corpus itself stays.
                    false => pool[corpus.len() + random.below(POOL)] = input,
                }
            }
        }
        assert!(taken * 20 > rounds, "only {taken} of {rounds} inputs were taken");
        println!("{taken} of {rounds} inputs were taken");
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap();
    assert!(thread.join().is_ok(), "a property does not hold: see above");
}

fn read(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    // In no order of the file system's.
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Says which input it was.
fn call(target: fn(&[u8]) -> bool, input: &[u8]) -> bool {
    struct Named<'a>(&'a [u8]);
    impl Drop for Named<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the input was b\"{}\"", self.0.escape_ascii());
            }
        }
    }
    let _named = Named(input);
    target(input)
}

/// Stretches of letters and digits, and each other byte by itself.
fn words(input: &[u8]) -> Vec<&[u8]> {
    input.chunk_by(|a, b| is_word(*a) && is_word(*b)).collect()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn mutate(input: &mut Vec<u8>, random: &mut Random, corpus: &[Vec<u8>], known: &[&[u8]]) {
    let length = input.len();
    let (from, to) = random.range(length);
    match random.below(16) {
        0 if length > 0 => input[random.below(length)] ^= 1 << random.below(8),
        1 if length > 0 => input[random.below(length)] = random.byte(),
        2 => drop(input.drain(from..to)),
        3 => input.truncate(from),
        4 => {
            let copy = input[from..to].to_vec();
            let at = random.below(length + 1);
            input.splice(at..at, copy);
        }
        5 => {
            let other = &corpus[random.below(corpus.len())];
            let (first, last) = random.range(other.len());
            input.splice(from..to, other[first..last].iter().copied());
        }
        6 => {
            let at = random.below(length + 1);
            let text = random.interesting();
            input.splice(at..at, text.iter().copied());
        }
        // A word for a word, one more, one less: what still parses.
        kind => {
            let mut parts: Vec<Vec<u8>> = words(input).into_iter().map(<[u8]>::to_vec).collect();
            let at = random.below(parts.len() + 1);
            let mut word = known[random.below(known.len())];
            for _ in 0..8 {
                // Mostly a name for a name, a sign for a sign.
                if parts.get(at).is_some_and(|part| is_word(part[0]) != is_word(word[0])) {
                    word = known[random.below(known.len())];
                }
            }
            let word = word.to_vec();
            match (kind, at < parts.len()) {
                (7..=13, true) => parts[at] = word,
                (14, true) => drop(parts.remove(at)),
                _ => parts.insert(at, word),
            }
            *input = parts.concat();
        }
    }
}

/// A xorshift generator: enough to choose by.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }

    /// A stretch of at most 32 within `length`.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let from = self.below(length + 1);
        (from, (from + self.below(33)).min(length))
    }

    fn interesting(&mut self) -> &'static [u8] {
        let all: [&[u8]; 22] = [
            b"\0",
            b"\n",
            b"'",
            b"\"",
            b"''",
            b"--",
            b"/*",
            b"*/",
            b";",
            b"$1",
            b"(",
            b")",
            b"%",
            b"%00",
            b"%ff",
            b"%2F",
            b"-1",
            b"18446744073709551616",
            b"1e999",
            b"nan",
            b"\xff\xfe",
            "ſ\u{202e}İ".as_bytes(),
        ];
        all[self.below(all.len())]
    }
}
