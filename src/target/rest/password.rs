//! Passwords for products that make no account without one.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::SecretString;

/// A password that nobody learns: long, of characters that addresses take as they are, with something of every kind that
/// a rule may ask for.
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
