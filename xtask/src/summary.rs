//! What the test runners say at their end, added up.

/// Counted tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Ran and passed.
    pub(crate) passed: u64,
    /// Ran and failed, timed out or could not start.
    pub(crate) failed: u64,
    /// Not run: marked as ignored, or the run was cut short.
    pub(crate) skipped: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Reads nextest's line, such as
/// `Summary [   0.131s] 4 tests run: 2 passed (1 slow), 1 failed, 1 timed out, 1 skipped`.
pub(crate) fn nextest(line: &str) -> Option<Tally> {
    let line = without_colour(line);
    let (head, counts) = line.trim().strip_prefix("Summary [")?.split_once(" run: ")?;
    let mut tally = Tally { skipped: not_run(head), ..Tally::default() };
    for part in without_brackets(counts).split(", ") {
        let (count, what) = part.trim().split_once(' ')?;
        let count: u64 = count.parse().ok()?;
        match what.trim() {
            "passed" => tally.passed += count,
            "skipped" => tally.skipped += count,
            _ => tally.failed += count, // failed, exec failed, timed out
        }
    }
    Some(tally)
}

/// Reads libtest's line, such as
/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s`.
pub(crate) fn libtest(line: &str) -> Option<Tally> {
    let line = without_colour(line);
    let (_, counts) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
    let mut tally = Tally::default();
    for part in counts.split(';') {
        let Some((count, what)) = part.trim().split_once(' ') else { continue };
        let Ok(count) = count.parse::<u64>() else { continue };
        match what {
            "passed" => tally.passed += count,
            "failed" => tally.failed += count,
            "ignored" => tally.skipped += count,
            _ => {}
        }
    }
    Some(tally)
}

/// 3 of `…] 2/5 tests`: the tests that a run cut short did not come to.
fn not_run(head: &str) -> u64 {
    let counts = head.rsplit(']').next().and_then(|rest| rest.split_whitespace().next());
    let Some((ran, all)) = counts.and_then(|counts| counts.split_once('/')) else { return 0 };
    match (ran.parse::<u64>(), all.parse::<u64>()) {
        (Ok(ran), Ok(all)) => all.saturating_sub(ran),
        _ => 0,
    }
}

fn without_brackets(text: &str) -> String {
    let mut depth = 0_u32;
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// `text` without ANSI escape sequences.
fn without_colour(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64, skipped: u64) -> Option<Tally> {
        Some(Tally { passed, failed, skipped })
    }

    #[test]
    fn nextest_line_of_a_good_run_is_read() {
        let line = "     Summary [   0.016s] 3 tests run: 3 passed, 1 skipped";
        assert_eq!(nextest(line), tally(3, 0, 1));
        assert_eq!(nextest("Summary [   0.011s] 1 test run: 1 passed, 0 skipped"), tally(1, 0, 0));
    }

    #[test]
    fn nextest_failures_of_every_kind_count_as_failed() {
        let line = "Summary [  9.0s] 9 tests run: 4 passed (1 slow, 2 flaky), 2 failed, \
                    2 timed out, 1 exec failed, 0 skipped";
        assert_eq!(nextest(line), tally(4, 5, 0));
    }

    #[test]
    fn nextest_line_of_a_run_cut_short_counts_the_rest_as_skipped() {
        let line = "Summary [ 0.1s] 2/5 tests run: 1 passed, 1 failed, 1 skipped";
        assert_eq!(nextest(line), tally(1, 1, 4));
    }

    #[test]
    fn nextest_line_in_colour_is_read() {
        let line = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.016s] \u{1b}[1m3\u{1b}[0m tests run: \
                    \u{1b}[1m3\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, \u{1b}[1m1\u{1b}[0m \
                    \u{1b}[33;1mskipped\u{1b}[0m";
        assert_eq!(nextest(line), tally(3, 0, 1));
    }

    #[test]
    fn libtest_line_is_read() {
        let line = "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; \
                    7 filtered out; finished in 0.01s";
        assert_eq!(libtest(line), tally(3, 1, 2));
    }

    #[test]
    fn other_lines_are_no_summary() {
        assert_eq!(nextest("PASS [ 0.1s] (1/3) a run: b"), None);
        assert_eq!(libtest("test result_is_parsed ... ok"), None);
    }

    #[test]
    fn closing_line_has_the_agreed_form() {
        let mut sum = Tally::default();
        sum += Tally { passed: 2, failed: 1, skipped: 0 };
        sum += Tally { passed: 3, failed: 0, skipped: 4 };
        assert_eq!(sum.to_string(), "5 passed, 1 failed, 4 skipped");
    }
}
