//! AWS Signature Version 4 over the header `authorization`, as far as AWS KMS needs it: requests to `/` without a query.
//!
//! Source: AWS, "Create a signed AWS API request" and its test suite.

use kiki_types::UnixMillis;
use ring::digest::{SHA256, digest};
use ring::hmac;

use super::remote::hex;

/// Who signs.
pub(super) struct Signer<'a> {
    pub(super) key_id: &'a str,
    pub(super) secret: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

impl Signer<'_> {
    /// The value of `authorization` for a request to `/`. `headers` are those that are signed, `x-amz-date` among them:
    /// names in lower case and in their order, values without spaces around them.
    pub(super) fn authorization(&self, method: &str, headers: &[(&str, &str)], body: &[u8], at: UnixMillis) -> String {
        let time = amz_date(at);
        let day = &time[..8];
        let listed: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let request = format!("{method}\n/\n\n{listed}\n{names}\n{}", hex(digest(&SHA256, body).as_ref()));
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let hashed = hex(digest(&SHA256, request.as_bytes()).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashed}");
        let signature = hex(mac(self.key(day).as_ref(), &text).as_ref());
        format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", self.key_id)
    }

    /// The key of one day, region and service.
    fn key(&self, day: &str) -> hmac::Tag {
        let secret = zeroize::Zeroizing::new(format!("AWS4{}", self.secret));
        let of_day = mac(secret.as_bytes(), day);
        let of_region = mac(of_day.as_ref(), self.region);
        let of_service = mac(of_region.as_ref(), self.service);
        mac(of_service.as_ref(), "aws4_request")
    }
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

/// A time as `x-amz-date` has it: `20150830T123600Z`.
pub(super) fn amz_date(at: UnixMillis) -> String {
    let text = at.rfc3339();
    let seconds = text.split('.').next().unwrap_or_default();
    format!("{}Z", seconds.replace(['-', ':'], ""))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const SIGNER: Signer<'static> = Signer {
        key_id: "AKIDEXAMPLE",
        secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        region: "us-east-1",
        service: "service",
    };

    fn then() -> UnixMillis {
        UnixMillis::parse_rfc3339("2015-08-30T12:36:00Z").unwrap()
    }

    /// `get-vanilla` and `post-vanilla` of AWS's test suite.
    #[test]
    fn the_published_requests_get_their_published_signatures() {
        let headers = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
        for (method, signature) in [
            ("GET", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ] {
            assert_eq!(
                SIGNER.authorization(method, &headers, b"", then()),
                format!(
                    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                     SignedHeaders=host;x-amz-date, Signature={signature}"
                )
            );
        }
    }

    const PEER: &str = r#"
import datetime, sys
import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
then = datetime.datetime(2015, 8, 30, 12, 36)
class Then(datetime.datetime):
    utcnow = classmethod(lambda cls: then)
if hasattr(botocore.auth, "get_current_datetime"):
    botocore.auth.get_current_datetime = lambda *_, **__: then
else:
    botocore.auth.datetime = type("", (), {"datetime": Then})
key, secret, region, service, token, body = sys.argv[1:]
headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "TrentService.Encrypt"}
request = AWSRequest("POST", "https://kms.us-east-1.amazonaws.com/", headers, data=body.encode())
botocore.auth.SigV4Auth(Credentials(key, secret, token or None), service, region).add_auth(request)
print(request.headers["Authorization"])
"#;

    /// Signs what is sent to AWS KMS by AWS's own library, where it is installed.
    #[test]
    fn what_is_sent_to_kms_is_signed_as_the_library_of_aws_signs_it() {
        let has = Command::new("python3").args(["-c", "import botocore"]).stderr(Stdio::null()).status();
        if !has.is_ok_and(|status| status.success()) {
            return;
        }
        let body = r#"{"KeyId":"alias/kiki","Plaintext":"AAAA","EncryptionContext":{"kiki":"kiki/ring/1/epoch/2"}}"#;
        for token in ["", "FwoGZXIvYXdzEXAMPLE//token=="] {
            let mut headers = vec![
                ("content-type", "application/x-amz-json-1.1"),
                ("host", "kms.us-east-1.amazonaws.com"),
                ("x-amz-date", "20150830T123600Z"),
            ];
            headers.extend((!token.is_empty()).then_some(("x-amz-security-token", token)));
            headers.push(("x-amz-target", "TrentService.Encrypt"));
            let ours = Signer { service: "kms", ..SIGNER }.authorization("POST", &headers, body.as_bytes(), then());
            let theirs = Command::new("python3")
                .args(["-c", PEER, SIGNER.key_id, SIGNER.secret, SIGNER.region, "kms", token, body])
                .output()
                .unwrap();
            assert!(theirs.status.success(), "{}", String::from_utf8_lossy(&theirs.stderr));
            assert_eq!(ours, String::from_utf8(theirs.stdout).unwrap().trim());
        }
    }
}
