//! What is wrong in a file, where, and what is allowed there.

use std::{fmt, ops::Range};

/// Something wrong in `plugin.toml` or `tessera.toml`.
///
/// Displays as several lines: `file:line:column: key: message`, the line itself with the place
/// underlined, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(Box<Details>);

/// The parts of a [`Problem`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Details {
    /// The file as its reader named it.
    pub file: String,
    /// The line, from 1; 0 where the problem has no place in the file.
    pub line: usize,
    /// The column in characters, from 1; 0 where the problem has no place in the file.
    pub column: usize,
    /// The key with its tables, dotted: `plugins.rooms.limits`. Empty at the top.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What is allowed, or what to do; one line each.
    pub help: Vec<String>,
    /// The line of the file and how many characters of it are meant.
    pub excerpt: Option<(String, usize)>,
}

impl std::error::Error for Problem {}

impl std::ops::Deref for Problem {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if self.line > 0 {
            write!(formatter, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(formatter, ": {}", self.key)?;
        }
        write!(formatter, ": {}", self.message)?;
        if let Some((text, width)) = &self.excerpt {
            let gutter = self.line.to_string();
            let blank = " ".repeat(gutter.len());
            let before: String = text
                .chars()
                .take(self.column.saturating_sub(1))
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            write!(formatter, "\n  {gutter} | {text}")?;
            write!(formatter, "\n  {blank} | {before}{}", "^".repeat((*width).max(1)))?;
        }
        self.help.iter().try_for_each(|line| write!(formatter, "\n  {line}"))
    }
}

impl Problem {
    /// A problem at a byte range of a text, or of the whole file where there is none.
    pub(crate) fn at(
        file: &str,
        text: &str,
        span: Option<Range<usize>>,
        key: String,
        message: String,
        help: Vec<String>,
    ) -> Self {
        let mut problem = Details {
            file: file.to_owned(),
            line: 0,
            column: 0,
            key,
            message,
            help,
            excerpt: None,
        };
        let Some((before, rest)) = span.as_ref().and_then(|span| text.split_at_checked(span.start))
        else {
            return Self(Box::new(problem));
        };
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
        let length = span.map_or(0, |span| span.end.saturating_sub(span.start));
        let meant = rest.get(..length).unwrap_or(rest).lines().next().unwrap_or_default();
        problem.line = before.matches('\n').count() + 1;
        problem.column = text.get(start..before.len()).unwrap_or_default().chars().count() + 1;
        problem.excerpt = Some((line.to_owned(), meant.chars().count()));
        Self(Box::new(problem))
    }

    /// Help lines for a word that is none of those allowed.
    pub(crate) fn allowed<S: AsRef<str>>(word: &str, allowed: &[S]) -> Vec<String> {
        let mut words: Vec<&str> = allowed.iter().map(AsRef::as_ref).collect();
        if words.is_empty() {
            return vec!["allowed: nothing".into()];
        }
        let nearest = words
            .iter()
            .map(|candidate| (strsim::damerau_levenshtein(word, candidate), *candidate))
            .min()
            .filter(|(distance, candidate)| *distance <= candidate.len().min(word.len()) / 3 + 1);
        words.sort_unstable();
        let mut help = vec![format!("allowed: {}", words.join(", "))];
        help.extend(nearest.map(|(_, word)| format!("did you mean `{word}`?")));
        help
    }
}
