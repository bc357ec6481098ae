//! What no setting shows alone: pairs that contradict each other, and pairs that work but are risky.

use super::merge::Values;
use super::mistake::Mistake;
use super::settings::Config;
use super::sources::Origin;
use super::value::{Environment, MasterChoice};
use crate::server::Trust;

pub(super) fn together(config: &Config, values: &Values, mistakes: &mut Vec<Mistake>, warnings: &mut Vec<String>) {
    let is_public = !config.host.to_canonical().is_loopback();
    let is_production = config.environment == Environment::Production;
    let origin = |variable| values.find(variable).map_or(&Origin::Default, |value| &value.origin);
    if is_public && config.trust == Trust::None {
        mistakes.push(Mistake(format!(
            "{}: KIKI_HOST = \"{}\": others can reach it and nothing is encrypted; listen on 127.0.0.1, or pass \
             --trust network (KIKI_TRUST=network) if the network around this process keeps others out",
            origin("KIKI_HOST"),
            config.host
        )));
    }
    let lacks = match &config.master {
        MasterChoice::File => None,
        MasterChoice::Env => config.master_key.is_none().then_some("KIKI_MASTER_KEY"),
        MasterChoice::Vault { .. } => config.vault_token.is_none().then_some("VAULT_TOKEN"),
        MasterChoice::AwsKms { .. } => (config.aws_access_key_id.is_none() || config.aws_secret_access_key.is_none())
            .then_some("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    };
    if let Some(lacks) = lacks {
        mistakes.push(Mistake(format!("{}: KIKI_MASTER also wants {lacks}", origin("KIKI_MASTER"))));
    }
    if is_production && config.master == MasterChoice::File {
        warnings.push(
            "KIKI_MASTER is a file: who copies this machine's disk reads what is known of people; Vault or AWS KMS keep \
             the key elsewhere"
                .into(),
        );
    }
    if is_production && config.database_url.is_none() {
        warnings
            .push("KIKI_ENV is production without DATABASE_URL: SQLite on this machine's disk is all there is".into());
    }
    if (is_production || is_public) && config.internal_api_key.is_none() {
        warnings.push("no INTERNAL_API_KEY: nobody can authenticate, so every request will be refused".into());
    }
    if is_public && !is_production {
        warnings
            .push("KIKI_HOST is public in development: the local operator is not assumed, callers need a key".into());
    }
    let twilio = [&config.twilio_account_sid, &config.twilio_auth_token, &config.twilio_from_number];
    let twilio_set = twilio.iter().filter(|part| part.is_some()).count();
    if (1..twilio.len()).contains(&twilio_set) {
        warnings.push(
            "TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and TWILIO_FROM_NUMBER belong together; one is missing".into(),
        );
    }
    if twilio_set > 0 || config.sendgrid_api_key.is_some() {
        warnings.push("the keys of message providers are not used: messages go to the sandbox".into());
    }
    if config.redis.is_some() {
        warnings.push("REDIS_ADDR is not used: state is kept in the data path and the database".into());
    }
}
