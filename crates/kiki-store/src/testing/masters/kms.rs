//! AWS KMS with one key, `kiki`, in `eu-central-1`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::{digest, hmac};
use serde_json::{Value, json};

use super::server::{Asked, Server, Told};
use super::{Key, new_key, open, seal};

/// A KMS.
pub struct KmsStandIn {
    server: Server,
}

impl KmsStandIn {
    /// Its region.
    pub const REGION: &'static str = "eu-central-1";
    /// Its key.
    pub const KEY: &'static str = "alias/kiki";
    /// The credentials that it takes.
    pub const ACCESS_KEY_ID: &'static str = "AKIASTANDIN";
    /// Their secret.
    pub const SECRET_ACCESS_KEY: &'static str = "stand-in/secret+EXAMPLEKEY";

    /// A KMS; if `session_token` is not empty, it wants it.
    #[must_use]
    pub fn start(session_token: &'static str) -> Self {
        let key = new_key();
        Self { server: Server::start(move |asked| answer(&key, session_token, asked)) }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Closes connections without an answer from now on, or answers again.
    pub fn set_away(&self, is_away: bool) {
        self.server.set_away(is_away);
    }
}

fn failed(kind: &str) -> Told {
    (400, json!({"__type": format!("com.amazonaws.kms#{kind}"), "message": "as it says"}))
}

fn answer(key: &Key, session_token: &str, asked: &Asked) -> Told {
    if asked.header("x-amz-security-token") != session_token {
        return failed("UnrecognizedClientException");
    }
    if !is_signed(asked) {
        return failed("InvalidSignatureException");
    }
    let body = asked.json();
    if body["KeyId"] != KmsStandIn::KEY {
        return failed("NotFoundException");
    }
    let context: BTreeMap<String, Value> =
        serde_json::from_value(body["EncryptionContext"].clone()).unwrap_or_default();
    let context = serde_json::to_vec(&context).unwrap_or_default();
    match asked.header("x-amz-target") {
        "TrentService.Encrypt" => match BASE64.decode(asked.text("Plaintext")) {
            Ok(plain) => {
                let blob = BASE64.encode(seal(key, &context, &plain));
                (200, json!({"CiphertextBlob": blob, "KeyId": KmsStandIn::KEY}))
            }
            Err(_) => failed("SerializationException"),
        },
        "TrentService.Decrypt" => {
            let sealed = BASE64.decode(asked.text("CiphertextBlob")).unwrap_or_default();
            match open(key, &context, &sealed) {
                Some(plain) => (200, json!({"Plaintext": BASE64.encode(plain), "KeyId": KmsStandIn::KEY})),
                None => failed("InvalidCiphertextException"),
            }
        }
        _ => failed("UnknownOperationException"),
    }
}

/// Whether what arrived is signed with Signature Version 4, all that matters among the signed headers.
fn is_signed(asked: &Asked) -> bool {
    let authorization = asked.header("authorization");
    let part = |name: &str| {
        let (_, rest) = authorization.split_once(name)?;
        rest.split(',').next()
    };
    let Some((credential, names, signature)) =
        part("Credential=").zip(part("SignedHeaders=")).zip(part("Signature=")).map(|((a, b), c)| (a, b, c))
    else {
        return false;
    };
    let wanted = ["content-type", "host", "x-amz-date", "x-amz-target"];
    let token = (!asked.header("x-amz-security-token").is_empty()).then_some("x-amz-security-token");
    let is_listed = |name: &str| names.split(';').any(|listed| listed == name);
    let date = asked.header("x-amz-date");
    let scope = format!("{}/{}/kms/aws4_request", date.get(..8).unwrap_or_default(), KmsStandIn::REGION);
    if !wanted.into_iter().chain(token).all(is_listed) || credential != format!("{}/{scope}", KmsStandIn::ACCESS_KEY_ID)
    {
        return false;
    }
    let mut canonical = format!("{}\n{}\n\n", asked.method, asked.path);
    for name in names.split(';') {
        canonical += &format!("{name}:{}\n", asked.header(name));
    }
    canonical += &format!("\n{names}\n{}", hashed(&asked.body));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hashed(canonical.as_bytes()));
    let mut key = format!("AWS4{}", KmsStandIn::SECRET_ACCESS_KEY).into_bytes();
    for part in scope.split('/').chain([text.as_str()]) {
        key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
    }
    hex(&key) == signature
}

fn hashed(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
