//! New inputs out of old ones: bytes, tokens of other inputs, and, where an input is JSON, its values.

use crate::random::Random;

mod json;

/// Pieces that have meaning somewhere, or had in somebody's bug.
const TOKENS: [&str; 56] = [
    "\0",
    "\u{1e}",
    "\u{2028}",
    "\u{202e}",
    "\u{feff}",
    "\u{1f980}",
    "e\u{301}",
    "\u{fb00}",
    "\n",
    "\r\n",
    "\\u0000",
    "\\ud800",
    "\\udfff\\ud83d",
    "\\",
    "\"",
    "'",
    "{",
    "}",
    "[",
    "]",
    "{\"a\":",
    ",",
    ":",
    "/",
    "~",
    "*",
    "?",
    "#",
    "-",
    "+",
    " ",
    "=",
    "null",
    "true",
    "false",
    "0",
    "-0",
    "1e999",
    "1.5",
    "-1",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "9999-12-31T23:59:59Z",
    "-009999-01-02T01:59:59Z",
    " slot: ",
    " volume: ",
    " name: ",
    "snapferry:",
    "aws:",
    "aws:backup:",
    "snap-01234567",
    "vol-ffffffff",
    "eu-central-1",
    "333333333333",
    "LW",
    "cron(",
];

/// Longer inputs are cut: they take time and find nothing else.
const LONGEST: usize = 40_000;

/// So many inputs are mutated further.
const KEPT: usize = 400;

/// Makes inputs.
#[derive(Debug)]
pub struct Mutator {
    random: Random,
    corpus: Vec<Vec<u8>>,
    n_seeds: usize,
}

impl Mutator {
    /// Begins with these.
    #[must_use]
    pub fn new(seeds: Vec<Vec<u8>>, seed: u64) -> Self {
        Self { random: Random::new(seed), n_seeds: seeds.len(), corpus: seeds }
    }

    /// Mutates this one too from now on: it was taken.
    pub fn keep(&mut self, input: Vec<u8>) {
        if input.len() > LONGEST / 4 || !self.random.once_in(2) {
            return;
        }
        if self.corpus.len() < self.n_seeds + KEPT {
            self.corpus.push(input);
        } else {
            let at = self.n_seeds + self.random.below(KEPT);
            if let Some(old) = self.corpus.get_mut(at) {
                *old = input;
            }
        }
    }

    /// The next one.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.random.pick(&self.corpus).cloned().unwrap_or_default();
        let is_json = input.trim_ascii_start().starts_with(b"{");
        if is_json && !self.random.once_in(4) {
            let other = self.random.pick(&self.corpus).cloned().unwrap_or_default();
            input = json::mutate(&input, &other, &mut self.random).unwrap_or(input);
            if !self.random.once_in(6) {
                return input;
            }
        }
        for _ in 0..=self.random.below(4) {
            self.bytes(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn bytes(&mut self, input: &mut Vec<u8>) {
        let random = &mut self.random;
        let at = random.below(input.len() + 1);
        let end = at + random.below((input.len() - at).min(64) + 1);
        match random.below(9) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = random.number().to_le_bytes()[0];
                }
            }
            2 => drop(input.drain(at..end)),
            3 => input.truncate(at),
            4 => {
                let again = input.get(at..end).map(<[u8]>::to_vec).unwrap_or_default();
                let times = if random.once_in(50) { 500 } else { 1 + random.below(3) };
                input.splice(at..at, again.repeat(times));
            }
            5 | 6 => {
                let token = random.pick(&TOKENS).copied().unwrap_or_default();
                let times = if random.once_in(50) { 1 + random.below(2000) } else { 1 };
                input.splice(at..at, token.repeat(times).into_bytes());
            }
            7 => {
                let bytes = random.below(9);
                input.splice(at..end, random.bytes(bytes));
            }
            _ => {
                let other = random.pick(&self.corpus).map(Vec::as_slice).unwrap_or_default();
                let from = random.below(other.len() + 1);
                let to = from + random.below((other.len() - from).min(200) + 1);
                let piece = other.get(from..to).unwrap_or_default().to_vec();
                input.splice(at..end, piece);
            }
        }
    }
}
