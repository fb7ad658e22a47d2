//! The signature of webhooks: `X-Hub-Signature-256: sha256=<hex>`, HMAC-SHA256 over the raw body keyed by the app
//! secret.
//!
//! It is made over the bytes as they came, with Meta's own escaping: check before parsing and never re-serialise. It
//! carries no time and no nonce, so a captured body can be replayed; recognising duplicates is the receiver's defence.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;

/// Name of the header, in the lower case of HTTP libraries.
pub const SIGNATURE_HEADER: &str = "x-hub-signature-256";

const PREFIX: &str = "sha256=";
const DIGEST_BYTES: usize = 32;

/// Why a body is not to be believed. Answer 401 to each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// The request has no signature header.
    #[error("the header {SIGNATURE_HEADER} is missing")]
    Missing,
    /// The header is not `sha256=` and 64 hexadecimal digits.
    #[error("the header {SIGNATURE_HEADER} is not `sha256=` and 64 hexadecimal digits")]
    Malformed,
    /// No secret is configured (an empty one does not count), so nothing can be verified.
    #[error("no app secret is configured, no signature can be verified")]
    NoSecret,
    /// The signature was not made with one of our secrets over this body.
    #[error("the signature does not fit the body")]
    Mismatch,
}

/// Signs a body: the value of the header, `sha256=<hex>`.
pub fn sign(secret: &SecretString, body: &[u8]) -> String {
    format!("{PREFIX}{}", hex::encode(digest(secret, body)))
}

/// Checks the header against the raw body. Any of `secrets` may have made it (several exist while one is being
/// replaced); each is tried and compared in constant time. Hexadecimal digits may be of either case.
pub fn verify(secrets: &[SecretString], header: Option<&str>, body: &[u8]) -> Result<(), SignatureError> {
    let header = header.ok_or(SignatureError::Missing)?.trim();
    let digits = header.strip_prefix(PREFIX).ok_or(SignatureError::Malformed)?;
    let mut claimed = [0_u8; DIGEST_BYTES];
    hex::decode_to_slice(digits, &mut claimed).map_err(|_| SignatureError::Malformed)?;

    // An empty secret would let anybody sign.
    let mut usable = secrets.iter().filter(|secret| !secret.expose_secret().is_empty()).peekable();
    if usable.peek().is_none() {
        return Err(SignatureError::NoSecret);
    }
    let fits = usable.fold(Choice::from(0), |fits, secret| fits | digest(secret, body).ct_eq(&claimed));
    if bool::from(fits) { Ok(()) } else { Err(SignatureError::Mismatch) }
}

fn digest(secret: &SecretString, body: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut mac = keyed(secret.expose_secret().as_bytes());
    mac.update(body);
    mac.finalize().into_bytes().into()
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of any length; the empty key of the impossible branch never verifies (see `verify`).
    Hmac::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[test]
    fn the_published_test_vector_of_hmac_sha256_holds() {
        // RFC 4231, test case 2.
        let signed = sign(&secret("Jefe"), b"what do ya want for nothing?");
        assert_eq!(signed, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(verify(&[secret("Jefe")], Some(&signed), b"what do ya want for nothing?"), Ok(()));
    }

    #[test]
    fn while_secrets_rotate_both_are_accepted_and_a_third_is_not() {
        let secrets = [secret("new"), secret(""), secret("old")];
        let body = b"{}";
        assert_eq!(verify(&secrets, Some(&sign(&secret("new"), body)), body), Ok(()));
        assert_eq!(verify(&secrets, Some(&sign(&secret("old"), body)), body), Ok(()));
        assert_eq!(verify(&secrets, Some(&sign(&secret("x"), body)), body), Err(SignatureError::Mismatch));
        assert_eq!(verify(&secrets, Some(&sign(&secret(""), body)), body), Err(SignatureError::Mismatch));
        assert_eq!(verify(&[secret("")], Some(&sign(&secret(""), body)), body), Err(SignatureError::NoSecret));
        assert_eq!(verify(&[], Some(&sign(&secret("new"), body)), body), Err(SignatureError::NoSecret));
    }

    #[test]
    fn a_header_of_another_form_is_refused() {
        let secrets = [secret("s")];
        let good = sign(&secrets[0], b"x");
        assert_eq!(verify(&secrets, None, b"x"), Err(SignatureError::Missing));
        for header in ["", "sha256=", "sha1=00", &good[7..], &good[..good.len() - 2], &format!("{good}00"), "sha256=zz"]
        {
            assert_eq!(verify(&secrets, Some(header), b"x"), Err(SignatureError::Malformed), "{header}");
        }
        let upper = format!("sha256={}", good[7..].to_uppercase());
        assert_eq!(verify(&secrets, Some(&upper), b"x"), Ok(()));
    }

    proptest! {
        #[test]
        fn a_changed_body_never_verifies(body in proptest::collection::vec(any::<u8>(), 1..200), at in any::<usize>()) {
            let secrets = [secret("s")];
            let header = sign(&secrets[0], &body);
            let mut changed = body.clone();
            let at = at % changed.len();
            changed[at] ^= 1;
            prop_assert_eq!(verify(&secrets, Some(&header), &body), Ok(()));
            prop_assert_eq!(verify(&secrets, Some(&header), &changed), Err(SignatureError::Mismatch));
        }
    }
}
