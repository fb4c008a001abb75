//! Passwords for products that require one for a new account.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::SecretString;

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
    fn passwords_are_long_and_never_the_same() {
        let (one, two) = (random_password(), random_password());
        assert_eq!(one.expose_secret().len(), 47);
        assert_ne!(one.expose_secret(), two.expose_secret());
    }
}
