//! An XML answer that breaks off, or is garbled, is no answer.
//!
//! The SDK's reader takes the end of the text, and the first place where it is no XML, for the end of everything that is
//! open: of a list that breaks off there it makes a shorter list, of an identifier a shorter one. It does not look
//! whether what closes is what is open, and of many calls it does not look at the answer at all. HTTP finds some of
//! these out, but not where the end of the connection ends the answer.

use std::str::{Utf8Error, from_utf8};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::FinalizerInterceptorContextMut;
use aws_smithy_runtime_api::client::orchestrator::{Metadata, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use xmlparser::{ElementEnd, Token, Tokenizer};

/// Makes a successful answer that is not whole an error, which is retried where a lost connection is.
#[derive(Debug)]
pub(crate) struct Whole;

/// Without anything of the answer but names: it may hold credentials.
#[derive(Debug, PartialEq, thiserror::Error)]
enum NotWhole {
    #[error("the answer breaks off after {0} bytes")]
    BreaksOff(usize),
    #[error("the answer is no text")]
    NoText(#[source] Utf8Error),
    #[error("the answer is no XML")]
    NoXml(#[source] xmlparser::Error),
    #[error("the answer is a <{found}> and not a <{want}>")]
    Another { want: String, found: String },
    #[error("the answer is garbled: </{0}> closes what is not open")]
    Garbled(String),
    #[error("the answer has a document type, which AWS never sends")]
    DocumentType,
}

impl Intercept for Whole {
    fn name(&self) -> &'static str {
        "whole answers only"
    }

    fn modify_before_attempt_completion(
        &self,
        context: &mut FinalizerInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = cfg.load::<Metadata>().map_or("", Metadata::name);
        let body = context
            .response()
            .filter(|response| response.status().is_success())
            .and_then(|response| response.body().bytes());
        let checked = body.map(|body| check(body, &format!("{operation}Response")));
        if let (Some(Err(err)), Some(result)) = (checked, context.output_or_error_mut()) {
            *result = Err(OrchestratorError::response(err.into()));
        }
        Ok(())
    }
}

/// Whether it is one whole element of that name.
fn check(body: &[u8], want: &str) -> Result<(), NotWhole> {
    let body = body.trim_ascii_end();
    let breaks_off = NotWhole::BreaksOff(body.len());
    let text = match from_utf8(body) {
        Ok(text) => text,
        Err(err) if err.error_len().is_none() => return Err(breaks_off),
        Err(err) => return Err(NotWhole::NoText(err)),
    };
    let (mut open, mut any) = (Vec::new(), false);
    for token in Tokenizer::from(text) {
        match token {
            Err(err) if text.ends_with('>') => return Err(NotWhole::NoXml(err)),
            Err(_) => return Err(breaks_off),
            Ok(Token::DtdStart { .. } | Token::EmptyDtd { .. }) => {
                return Err(NotWhole::DocumentType);
            }
            Ok(Token::ElementStart { local, .. }) => {
                if open.is_empty() {
                    any = true;
                    if local.as_str() != want {
                        let found = local.as_str().chars().take(99).collect();
                        return Err(NotWhole::Another { want: want.to_owned(), found });
                    }
                }
                open.push(local.as_str());
            }
            Ok(Token::ElementEnd { end: ElementEnd::Empty, .. }) => drop(open.pop()),
            Ok(Token::ElementEnd { end: ElementEnd::Close(_, local), .. }) => {
                if open.pop() != Some(local.as_str()) {
                    return Err(NotWhole::Garbled(local.as_str().chars().take(99).collect()));
                }
            }
            Ok(_) => {}
        }
    }
    if any && open.is_empty() { Ok(()) } else { Err(breaks_off) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <AResponse xmlns=\"http://x/\"><!-- -->\n<set><item><id>a-1</id><n/></item></set></AResponse>\n";

    #[test]
    fn an_answer_is_whole_or_none() {
        assert_eq!(check(ANSWER.as_bytes(), "AResponse"), Ok(()));
        assert_eq!(check(b"<AResponse/>", "AResponse"), Ok(()));
        for end in 0..ANSWER.trim_end().len() {
            assert!(check(&ANSWER.as_bytes()[..end], "AResponse").is_err(), "{end}");
        }
    }

    #[test]
    fn what_is_wrong_with_it_is_said_without_what_it_holds() {
        let without = |text: &str| ANSWER.replacen(text, "", 1);
        let dtd = format!(
            "<!DOCTYPE b [<!ENTITY a \"secret\">]>{}",
            without("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n")
        );
        for (body, want) in [
            (String::new(), "the answer breaks off after 0 bytes"),
            ("secret".to_owned(), "the answer breaks off after 6 bytes"),
            (without("</item>"), "the answer is garbled: </set> closes what is not open"),
            (without("<item>"), "the answer is garbled: </item> closes what is not open"),
            (without("/id"), "the answer is no XML"),
            (without("AResponse"), "the answer is no XML"),
            (
                ANSWER.replace("AResponse", "BResponse"),
                "the answer is a <BResponse> and not a <AResponse>",
            ),
            (
                "<html><body>secret</html>".to_owned(),
                "the answer is a <html> and not a <AResponse>",
            ),
            (ANSWER.to_owned() + "<AResponse/>", "the answer is no XML"),
            (dtd, "the answer has a document type, which AWS never sends"),
        ] {
            let said = check(body.as_bytes(), "AResponse").unwrap_err().to_string();
            assert_eq!(said, want, "{body}");
        }
        let utf16: Vec<u8> = ANSWER.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(
            check(&utf16, "AResponse").unwrap_err().to_string(),
            "the answer breaks off after 260 bytes"
        );
        let said = check(b"<AResponse>\xff</AResponse>", "AResponse").unwrap_err().to_string();
        assert_eq!(said, "the answer is no text");
    }
}
