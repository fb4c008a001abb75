//! Passwords for products that require one for a new account.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::SecretString;

/// Length of these passwords, in characters.
pub const PASSWORD_LENGTH: usize = 47;

/// Generates a random password that is not kept. It is long, needs no encoding in URLs, and contains each kind of
/// character that a password policy may require.
pub fn random_password() -> SecretString {
    format!("aZ7.{}", BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())).into()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn passwords_are_long_never_the_same_and_need_no_encoding() {
        let (one, two) = (random_password(), random_password());
        assert_eq!(one.expose_secret().len(), PASSWORD_LENGTH);
        let encoded: String = url::form_urlencoded::byte_serialize(one.expose_secret().as_bytes()).collect();
        assert_eq!(encoded, one.expose_secret());
        assert_ne!(one.expose_secret(), two.expose_secret());
    }
}
