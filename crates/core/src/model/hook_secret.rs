//! The secret that signs pushed events, in the format of Standard Webhooks.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use secrecy::SecretSlice;

/// Prefix of a hook secret.
pub const HOOK_SECRET_PREFIX: &str = "whsec_";

/// Minimum length of a hook secret in bytes: the minimum of Standard Webhooks.
pub const SHORTEST_HOOK_SECRET: usize = 24;

/// Minimum number of hex digits; a shorter text may be a word.
const SHORTEST_HEX: usize = 16;

/// Padding is optional, as in the listener inside Keycloak.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a text is not a hook secret, and what to do; never contains the text.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadHookSecret {
    /// Empty, or only white space.
    #[error("the secret is empty. {MAKE_ONE}")]
    Empty,
    /// Enclosed in quotes.
    #[error("the secret is in quotes. Remove them")]
    Quoted,
    /// An assignment, `NAME=value` or `name: value`.
    #[error("the secret is written as NAME=value. Keep only the value, which begins with whsec_")]
    Assignment,
    /// The value of a signature header.
    #[error("this is a signature, not the signing secret. Set the secret, which begins with whsec_")]
    Signature,
    /// Hex digits.
    #[error("the secret is hex, but must be whsec_ followed by base64. {MAKE_ONE}")]
    Hex,
    /// Any other text without the prefix.
    #[error("the secret does not begin with whsec_. {MAKE_ONE}")]
    NoPrefix,
    /// White space inside the text: two secrets, or a line that was broken.
    #[error("the secret contains white space. Set one secret; put the previous one in hook_secret_previous")]
    Blank,
    /// What follows `whsec_` is not base64.
    #[error("the part after whsec_ is not base64. Copy the whole secret again")]
    NotBase64,
    /// Too short to be safe.
    #[error("the secret has {0} bytes and needs at least 24. {MAKE_ONE}")]
    TooShort(usize),
}

const MAKE_ONE: &str = "Create one and set it in Keycloak too: echo \"whsec_$(openssl rand -base64 32)\"";

/// Returns the bytes of a hook secret: `whsec_` and base64 of at least 24 bytes. White space around the text is
/// ignored.
///
/// ```
/// use secrecy::ExposeSecret;
/// use usersync_core::model::{BadHookSecret, hook_secret};
///
/// let secret = hook_secret("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz").expect("24 bytes");
/// assert_eq!(secret.expose_secret(), b"012345678901234567890123");
/// assert!(matches!(hook_secret("whsec_MDEy"), Err(BadHookSecret::TooShort(3))));
/// assert!(matches!(hook_secret("a password"), Err(BadHookSecret::NoPrefix)));
/// ```
pub fn hook_secret(text: &str) -> Result<SecretSlice<u8>, BadHookSecret> {
    let text = text.trim();
    if text.is_empty() {
        return Err(BadHookSecret::Empty);
    }
    let Some(encoded) = text.strip_prefix(HOOK_SECRET_PREFIX) else { return Err(what_it_is(text)) };
    if encoded.contains(char::is_whitespace) {
        return Err(BadHookSecret::Blank);
    }
    if encoded.ends_with(QUOTES) {
        return Err(BadHookSecret::Quoted);
    }
    let bytes = BASE64.decode(encoded).map_err(|_| BadHookSecret::NotBase64)?;
    if bytes.len() < SHORTEST_HOOK_SECRET {
        return Err(BadHookSecret::TooShort(bytes.len()));
    }
    Ok(bytes.into())
}

const QUOTES: [char; 9] = ['"', '\'', '`', '\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{ab}'];

/// Returns the most likely mistake behind a text without the prefix.
fn what_it_is(text: &str) -> BadHookSecret {
    let is_hex = |text: &str| text.len() >= SHORTEST_HEX && text.bytes().all(|b| b.is_ascii_hexdigit());
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.- ".contains(&b));
    if text.starts_with(QUOTES) {
        return BadHookSecret::Quoted;
    }
    if ["v1,", "v1a,", "sha256=", "t="].iter().any(|start| text.starts_with(start)) {
        return BadHookSecret::Signature;
    }
    if is_hex(text.strip_prefix("0x").unwrap_or(text)) {
        return BadHookSecret::Hex;
    }
    // Base64 padding at the end is not an assigned value.
    match text.split_once(['=', ':']) {
        Some((name, value)) if is_name(name) && !value.trim_matches('=').trim().is_empty() => BadHookSecret::Assignment,
        _ => BadHookSecret::NoPrefix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    #[test]
    fn only_the_prefix_and_base64_of_enough_bytes_is_a_hook_secret() {
        use secrecy::ExposeSecret as _;
        assert_eq!(hook_secret(GOOD).unwrap().expose_secret().len(), 24);
        assert_eq!(hook_secret(&format!(" {GOOD}\n")).unwrap().expose_secret().len(), 24);
        let padded = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert_eq!(hook_secret(padded).unwrap().expose_secret().len(), 32);
        assert_eq!(hook_secret(padded.trim_end_matches('=')).unwrap().expose_secret().len(), 32);
    }

    #[test]
    fn each_mistake_is_named_with_what_to_do() {
        let key = GOOD.strip_prefix("whsec_").unwrap();
        for (text, expected) in [
            (String::new(), BadHookSecret::Empty),
            (" \n".into(), BadHookSecret::Empty),
            (format!("\"{GOOD}\""), BadHookSecret::Quoted),
            (format!("'{GOOD}'"), BadHookSecret::Quoted),
            (format!("{GOOD}\""), BadHookSecret::Quoted),
            (format!("\u{201c}{GOOD}\u{201d}"), BadHookSecret::Quoted),
            (format!("HOOK_SECRET={GOOD}"), BadHookSecret::Assignment),
            (format!("export HOOK_SECRET=\"{GOOD}\""), BadHookSecret::Assignment),
            (format!("hook_secret = \"{GOOD}\""), BadHookSecret::Assignment),
            (format!("secret: {GOOD}"), BadHookSecret::Assignment),
            ("v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=".into(), BadHookSecret::Signature),
            (
                "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17".into(),
                BadHookSecret::Signature,
            ),
            ("757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17".into(), BadHookSecret::Hex),
            (key.into(), BadHookSecret::NoPrefix),
            (format!("{key}AA=="), BadHookSecret::NoPrefix),
            (format!("WHSEC_{key}"), BadHookSecret::NoPrefix),
            ("correct horse battery staple".into(), BadHookSecret::NoPrefix),
            (format!("{GOOD} {GOOD}"), BadHookSecret::Blank),
            (format!("{GOOD}\n{GOOD}"), BadHookSecret::Blank),
            ("whsec_not-base64!".into(), BadHookSecret::NotBase64),
            (format!("whsec_{}", "_".repeat(32)), BadHookSecret::NotBase64),
            (format!("whsec_\u{200b}{key}"), BadHookSecret::NotBase64),
            ("whsec_".into(), BadHookSecret::TooShort(0)),
            ("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into(), BadHookSecret::TooShort(23)),
        ] {
            let refused = hook_secret(&text).unwrap_err();
            assert_eq!(refused, expected, "{text}");
            assert!(refused.to_string().contains(". "), "it says what to do: {refused}");
        }
    }

    #[test]
    fn a_secret_is_decoded_to_its_bytes() {
        use secrecy::ExposeSecret as _;
        let secret = hook_secret("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz").unwrap();
        assert_eq!(secret.expose_secret(), b"012345678901234567890123");
    }

    #[test]
    fn a_text_without_the_prefix_is_an_assignment_only_if_it_has_a_name_and_a_value() {
        for (text, expected) in [
            ("secret=x", BadHookSecret::Assignment),
            ("my-hook.secret_1 : x", BadHookSecret::Assignment),
            ("secret=", BadHookSecret::NoPrefix),
            ("secret: ", BadHookSecret::NoPrefix),
            ("=x", BadHookSecret::NoPrefix),
            (":x", BadHookSecret::NoPrefix),
            ("p@ssw0rd=x", BadHookSecret::NoPrefix),
            ("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMQ==", BadHookSecret::NoPrefix),
            ("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=", BadHookSecret::NoPrefix),
        ] {
            assert_eq!(hook_secret(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn sixteen_hex_digits_are_hex_and_fewer_may_be_a_word() {
        for (text, expected) in [
            ("0123456789abcdEF", BadHookSecret::Hex),
            ("0x0123456789abcdEF", BadHookSecret::Hex),
            ("0123456789abcde", BadHookSecret::NoPrefix),
            ("0123456789abcdeg", BadHookSecret::NoPrefix),
        ] {
            assert_eq!(hook_secret(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn the_value_of_each_form_of_signature_header_is_a_signature() {
        for text in ["v1,tZ1I4/hDygA=", "v1a,tZ1I4/hDygA=", "sha256=757107ea", "t=1700000000,v1=757107ea"] {
            assert_eq!(hook_secret(text).unwrap_err(), BadHookSecret::Signature, "{text}");
        }
    }
}
