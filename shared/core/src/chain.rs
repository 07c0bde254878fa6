//! An error with all its causes on one line.

use std::error::Error;
use std::fmt;

/// Displays an error and its sources, separated by `: `. Errors of this workspace never print their source
/// themselves, so nothing is said twice.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        write!(f, "{}", one_line(&last))?;
        let mut source = self.0.source();
        while let Some(err) = source {
            let text = err.to_string();
            // Some libraries repeat their cause in their own text.
            if !last.ends_with(&text) {
                write!(f, ": {}", one_line(&text))?;
            }
            last = text;
            source = err.source();
        }
        Ok(())
    }
}

/// The text with control characters, and line ends of every kind, turned to spaces.
#[must_use]
pub fn one_line(text: &str) -> String {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.chars().map(|c| if breaks(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn every_cause_is_named_once() {
        let err = Outer(std::io::Error::other("inner\nsecond\u{2028}line\u{2029}"));
        assert_eq!(Chain(&err).to_string(), "outer: inner second line ");
    }
}
