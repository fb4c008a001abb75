use proptest::prelude::*;

use super::*;

// The test vector that all reference libraries of Standard Webhooks share.
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
const TIMESTAMP: &str = "1649367553";
const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;
const SIGNATURE: &str = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";

fn secret(text: &str) -> WebhookSecret {
    WebhookSecret::parse(&text.into()).unwrap()
}

fn p2(text: &str) -> WebhookSecret {
    WebhookSecret::parse_p2(&text.into()).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn headers<'a>(id: &'a str, timestamp: &'a str, signature: &'a str) -> SignatureHeaders<'a> {
    SignatureHeaders { id: Some(id), timestamp: Some(timestamp), signature: Some(signature), keycloak: None }
}

fn outcome(headers: &SignatureHeaders<'_>, now: i64) -> Result<(), SignatureError> {
    verified(&[secret(SECRET)], headers, BODY, now).map(|_| ())
}

fn verified<'a>(
    secrets: &[WebhookSecret],
    headers: &SignatureHeaders<'_>,
    body: &'a [u8],
    now: i64,
) -> Result<Verified<'a>, SignatureError> {
    verify(secrets, &headers.signature(at(now))?, body)
}

#[test]
fn the_official_vector_verifies_and_signs() {
    assert_eq!(outcome(&headers(ID, TIMESTAMP, SIGNATURE), 1_649_367_553), Ok(()));
    assert_eq!(secret(SECRET).sign(ID, at(1_649_367_553), BODY).as_deref(), Some(SIGNATURE));
}

#[test]
fn one_good_signature_among_several_is_enough() {
    let list = format!("v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v2,{} {SIGNATURE}", &SIGNATURE[3..]);
    assert_eq!(outcome(&headers(ID, TIMESTAMP, &list), 1_649_367_553), Ok(()));
    let none = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v1,AAAA v1, ,";
    assert_eq!(outcome(&headers(ID, TIMESTAMP, none), 1_649_367_553), Err(SignatureError::Mismatch));
}

#[test]
fn partial_or_unknown_signatures_are_none() {
    for bad in [&SIGNATURE[..20], &SIGNATURE[3..], "v2,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=", "v1,", "", "v1,é"]
    {
        assert_eq!(outcome(&headers(ID, TIMESTAMP, bad), 1_649_367_553), Err(SignatureError::Unreadable), "{bad}");
    }
}

#[test]
fn five_minutes_either_way_are_allowed() {
    let good = headers(ID, TIMESTAMP, SIGNATURE);
    assert_eq!(outcome(&good, 1_649_367_553 + 300), Ok(()));
    assert_eq!(outcome(&good, 1_649_367_553 - 300), Ok(()));
    assert_eq!(outcome(&good, 1_649_367_553 + 301), Err(SignatureError::TooOld));
    assert_eq!(outcome(&good, 1_649_367_553 - 301), Err(SignatureError::TooNew));
}

#[test]
fn every_header_is_needed() {
    let all = headers(ID, TIMESTAMP, SIGNATURE);
    for missing in [
        SignatureHeaders { id: None, ..all },
        SignatureHeaders { timestamp: None, ..all },
        SignatureHeaders { signature: None, ..all },
        SignatureHeaders { signature: None, keycloak: Some("00"), ..all },
        SignatureHeaders::default(),
    ] {
        assert_eq!(outcome(&missing, 1_649_367_553), Err(SignatureError::Missing));
    }
}

#[test]
fn headers_that_cannot_be_read_are_refused() {
    for (id, timestamp) in [("a.b", TIMESTAMP), ("", TIMESTAMP), (ID, "soon"), (ID, "-1"), (ID, ""), (ID, "1.5")] {
        assert_eq!(outcome(&headers(id, timestamp, SIGNATURE), 1_649_367_553), Err(SignatureError::Unreadable));
    }
    assert_eq!(outcome(&headers(ID, "99999999999999999999", SIGNATURE), 0), Err(SignatureError::Unreadable));
}

#[test]
fn any_of_several_secrets_will_do_and_none_refuses() {
    let secrets = [secret(WebhookSecret::generate().expose_secret()), p2("legacy"), secret(SECRET)];
    let good = headers(ID, TIMESTAMP, SIGNATURE);
    assert!(verified(&secrets, &good, BODY, 1_649_367_553).is_ok());
    assert_eq!(verified(&[], &good, BODY, 1_649_367_553).unwrap_err(), SignatureError::Mismatch);
    assert_eq!(verified(&secrets[..2], &good, BODY, 1_649_367_553).unwrap_err(), SignatureError::Mismatch);
}

#[test]
fn the_p2_form_is_hex_over_the_body() {
    // GitHub's published vector has the same form.
    let github = p2("It's a Secret to Everybody");
    let tag = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let signed = |signature| SignatureHeaders { keycloak: Some(signature), ..SignatureHeaders::default() };
    assert_eq!(github.sign_p2(b"Hello, World!").as_deref(), Some(tag));
    let body = verified(std::slice::from_ref(&github), &signed(tag), b"Hello, World!", 0).unwrap();
    assert_eq!(body.bytes(), b"Hello, World!");
    for (bad, why) in [
        (&*tag.replace('7', "8"), SignatureError::Mismatch),
        (&tag[..62], SignatureError::Unreadable),
        (&tag[..63], SignatureError::Unreadable),
        ("", SignatureError::Unreadable),
        ("zz", SignatureError::Unreadable),
        (&*tag.to_uppercase(), SignatureError::Unreadable),
    ] {
        let refused = verified(std::slice::from_ref(&github), &signed(bad), b"Hello, World!", 0);
        assert_eq!(refused.unwrap_err(), why, "{bad}");
    }
}

#[test]
fn a_secret_of_the_p2_form_is_any_text_and_signs_nothing_else() {
    assert_eq!(WebhookSecret::parse_p2(&" \n".into()).unwrap_err(), BadHookSecret::Empty);
    assert!(p2("any text").sign(ID, at(0), BODY).is_none());
    assert_eq!(WebhookSecret::parse(&"any text".into()).unwrap_err(), BadHookSecret::NoPrefix);
    assert_eq!(p2(&format!(" {SECRET}\n")).sign_p2(BODY), secret(SECRET).sign_p2(BODY));
}

#[test]
fn no_secret_is_ever_shown() {
    assert_eq!(format!("{:?}", secret(SECRET)), "WebhookSecret");
    assert_eq!(format!("{:?}", Verified::read_at_source(b"personal")), "Verified(8 bytes)");
}

#[test]
fn generated_secrets_are_good_and_differ() {
    let (one, other) = (WebhookSecret::generate(), WebhookSecret::generate());
    assert!(WebhookSecret::parse(&one).is_ok());
    assert_ne!(one.expose_secret(), other.expose_secret());
}

proptest! {
    #[test]
    fn a_flipped_bit_anywhere_is_noticed(bit in 0..BODY.len() * 8) {
        let mut body = BODY.to_vec();
        body[bit / 8] ^= 1 << (bit % 8);
        let good = headers(ID, TIMESTAMP, SIGNATURE);
        prop_assert!(verified(&[secret(SECRET)], &good, &body, 1_649_367_553).is_err());
    }

    #[test]
    fn a_flipped_bit_in_the_signature_is_noticed(bit in 0..256_usize) {
        let mut tag = STANDARD.decode(&SIGNATURE[3..]).unwrap();
        tag[bit / 8] ^= 1 << (bit % 8);
        let signature = format!("v1,{}", STANDARD.encode(tag));
        prop_assert!(outcome(&headers(ID, TIMESTAMP, &signature), 1_649_367_553).is_err());
    }

    #[test]
    fn what_we_sign_we_verify(id in "[A-Za-z0-9_-]{1,40}", body in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let secret = secret(WebhookSecret::generate().expose_secret());
        let signature = secret.sign(&id, at(1_700_000_000), &body).unwrap();
        prop_assert!(verified(&[secret], &headers(&id, "1700000000", &signature), &body, 1_700_000_000).is_ok());
    }
}
