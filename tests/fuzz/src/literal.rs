//! Inputs as text: between `b"` and `"` a literal of Rust, between `'` and `'` one of a shell.

use std::fmt::Write;

/// The bytes, escaped.
#[must_use]
pub fn escaped(data: &[u8]) -> String {
    let mut text = String::new();
    for byte in data {
        let _ = match byte {
            b'\\' => write!(text, "\\\\"),
            b'"' => write!(text, "\\\""),
            b'\'' => write!(text, "\\x27"),
            b' '..=b'~' => write!(text, "{}", char::from(*byte)),
            _ => write!(text, "\\x{byte:02x}"),
        }; // a String takes it
    }
    text
}

/// What [`escaped`] escaped, and Rust's other escapes; what is none stands for itself.
#[must_use]
pub fn unescaped(text: &str) -> Vec<u8> {
    let mut data = Vec::new();
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return data,
            [b'\\', b'x', high, low, after @ ..] if hex(*high).is_some() && hex(*low).is_some() => {
                data.push(hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0));
                after
            }
            [b'\\', escape @ (b'\\' | b'"' | b'\'' | b'n' | b'r' | b't' | b'0'), after @ ..] => {
                data.push(match escape {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'0' => 0,
                    other => *other,
                });
                after
            }
            [byte, after @ ..] => {
                data.push(*byte);
                after
            }
        };
    }
}

fn hex(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives() {
        let all: Vec<u8> = (0..=255).chain(0..=255).rev().collect();
        assert_eq!(unescaped(&escaped(&all)), all);
        assert_eq!(unescaped("\\n\\0\\q\\x4\\"), b"\n\0\\q\\x4\\");
        assert!(escaped(&all).chars().all(|c| (' '..='~').contains(&c) && c != '\''));
    }
}
