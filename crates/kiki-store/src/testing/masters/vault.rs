//! Vault's transit engine, mounted at `transit`, with one key `kiki`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::server::{Asked, Server, Told};
use super::{Key, new_key, open, seal};

/// A Vault. Its token is [`VaultStandIn::TOKEN`].
pub struct VaultStandIn {
    server: Server,
    state: Arc<Mutex<State>>,
}

struct State {
    versions: BTreeMap<u64, Key>,
    min_decryption: u64,
    min_encryption: u64,
    min_available: u64,
    namespace: Option<String>,
    is_sealed: bool,
    binds_nothing: bool,
}

impl VaultStandIn {
    /// The token that it takes.
    pub const TOKEN: &'static str = "s.stand-in-token";

    /// A Vault whose key has one version.
    #[must_use]
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            versions: BTreeMap::from([(1, new_key())]),
            min_decryption: 1,
            min_encryption: 0,
            min_available: 0,
            namespace: None,
            is_sealed: false,
            binds_nothing: false,
        }));
        let shared = state.clone();
        let server = Server::start(move |asked| shared.lock().unwrap_or_else(PoisonError::into_inner).answer(asked));
        Self { server, state }
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

    /// Is sealed from now on, or no longer.
    pub fn set_sealed(&self, is_sealed: bool) {
        self.change(|state| state.is_sealed = is_sealed);
    }

    /// Wants this namespace to be named.
    pub fn want_namespace(&self, namespace: &str) {
        self.change(|state| state.namespace = Some(namespace.to_owned()));
    }

    /// Takes no notice of associated data, as versions did that did not know it.
    pub fn bind_nothing(&self) {
        self.change(|state| state.binds_nothing = true);
    }

    /// The versions that the key still has.
    #[must_use]
    pub fn versions(&self) -> Vec<u64> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).versions.keys().copied().collect()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn errors(status: u16, why: &str) -> Told {
    (status, json!({"errors": [why]}))
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Told {
        if self.is_sealed {
            return errors(503, "Vault is sealed");
        }
        let namespace = self.namespace.as_deref().unwrap_or_default();
        if asked.header("x-vault-token") != VaultStandIn::TOKEN || asked.header("x-vault-namespace") != namespace {
            return errors(403, "permission denied");
        }
        match (asked.method.as_str(), asked.path.as_str()) {
            ("POST", "/v1/transit/encrypt/kiki") => self.encrypt(asked),
            ("POST", "/v1/transit/decrypt/kiki") => self.decrypt(asked),
            ("POST", "/v1/transit/keys/kiki/rotate") => {
                let next = self.latest() + 1;
                self.versions.insert(next, new_key());
                (200, json!({"data": {"latest_version": next}}))
            }
            ("POST", "/v1/transit/keys/kiki/config") => self.configure(&asked.json()),
            ("POST", "/v1/transit/keys/kiki/trim") => self.trim(&asked.json()),
            ("POST", path) if path.starts_with("/v1/transit/") => errors(400, "encryption key not found"),
            _ => errors(404, "no handler for route"),
        }
    }

    fn latest(&self) -> u64 {
        self.versions.keys().next_back().copied().unwrap_or(0)
    }

    fn context(&self, asked: &Asked) -> Vec<u8> {
        if self.binds_nothing {
            return Vec::new();
        }
        BASE64.decode(asked.text("associated_data")).unwrap_or_default()
    }

    fn encrypt(&self, asked: &Asked) -> Told {
        let Ok(plain) = BASE64.decode(asked.text("plaintext")) else {
            return errors(400, "failed to base64-decode plaintext");
        };
        let version = self.latest();
        let sealed = seal(&self.versions[&version], &self.context(asked), &plain);
        let ciphertext = format!("vault:v{version}:{}", BASE64.encode(sealed));
        (200, json!({"data": {"ciphertext": ciphertext, "key_version": version}}))
    }

    fn decrypt(&self, asked: &Asked) -> Told {
        let ciphertext = asked.text("ciphertext");
        let parts = ciphertext.strip_prefix("vault:v").and_then(|rest| rest.split_once(':'));
        let Some((version, Ok(sealed))) =
            parts.and_then(|(version, text)| Some((version.parse::<u64>().ok()?, BASE64.decode(text))))
        else {
            return errors(400, "invalid ciphertext: no prefix");
        };
        if version < self.min_decryption {
            return errors(400, "ciphertext or signature version is disallowed by policy (too old)");
        }
        let key = self.versions.get(&version);
        match key.and_then(|key| open(key, &self.context(asked), &sealed)) {
            Some(plain) => (200, json!({"data": {"plaintext": BASE64.encode(plain)}})),
            None => errors(400, "invalid ciphertext: unable to decrypt"),
        }
    }

    fn configure(&mut self, wanted: &Value) -> Told {
        let of = |name: &str, now: u64| wanted[name].as_u64().unwrap_or(now);
        let decryption = of("min_decryption_version", self.min_decryption);
        let encryption = of("min_encryption_version", self.min_encryption);
        if decryption > self.latest() || encryption > self.latest() {
            return errors(400, "cannot set a minimum beyond the latest version");
        }
        if encryption != 0 && encryption < decryption {
            return errors(400, "cannot set min encryption version below min decryption version");
        }
        if decryption < self.min_available {
            return errors(400, "min decryption version should not be less then min available version");
        }
        (self.min_decryption, self.min_encryption) = (decryption, encryption);
        (204, Value::Null)
    }

    fn trim(&mut self, wanted: &Value) -> Told {
        let available = wanted["min_available_version"].as_u64().unwrap_or(0);
        if available < self.min_available {
            return errors(400, "minimum available version cannot be decremented");
        }
        if self.min_encryption == 0 || available > self.min_encryption || available > self.min_decryption {
            return errors(400, "minimum available version cannot be set above the other minima");
        }
        if available == 0 {
            return errors(400, "minimum available version should be positive");
        }
        self.min_available = available;
        self.versions.retain(|&version, _| version >= available);
        (200, json!({"data": {"min_available_version": available}}))
    }
}
