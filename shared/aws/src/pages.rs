//! Pages that lead back to themselves are no list.
//!
//! The SDK's paginators end where a page has the token of the one before, and what was read so far counts as all there
//! is. Of any other circle they see nothing, and go round until the invocation ends.

use std::collections::BTreeSet;

use snapferry_core::ec2::Ec2Error;

/// The pages of one list so far. To be used with `stop_on_duplicate_token(false)`.
#[derive(Debug, Default)]
pub(crate) struct Pages(BTreeSet<String>);

#[derive(Debug, thiserror::Error)]
#[error("page {0} leads back to an earlier one")]
struct Circle(usize);

impl Pages {
    /// Takes note of a page and where it leads; an empty token leads nowhere.
    ///
    /// # Errors
    /// When it has led there before.
    pub(crate) fn turn(
        &mut self,
        operation: &'static str,
        next_token: Option<&str>,
    ) -> Result<(), Ec2Error> {
        let n = self.0.len() + 1;
        match next_token.filter(|token| !token.is_empty()) {
            Some(token) if !self.0.insert(token.to_owned()) => {
                Err(Ec2Error::NoAnswer { operation, source: Box::new(Circle(n)) })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use snapferry_core::chain::Chain;

    use super::*;

    #[test]
    fn a_list_has_an_end() {
        let mut pages = Pages::default();
        for token in [Some("a"), Some("b"), Some(""), None] {
            pages.turn("DescribeVolumes", token).unwrap();
        }
        let err = pages.turn("DescribeVolumes", Some("a")).unwrap_err();
        let want = "no answer to DescribeVolumes: page 3 leads back to an earlier one";
        assert_eq!(Chain(&err).to_string(), want);
    }
}
