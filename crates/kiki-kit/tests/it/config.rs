//! The configuration as an operator meets it.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};

use kiki_kit::config::{Config, Environment, Flag, Loaded, Mistakes, Origin, SETTINGS, Sources, Text, default_toml};

fn sources(toml: &str, dot_env: &str, environment: &[(&str, &str)]) -> Sources {
    let text = |name: &str, text: &str| Some(Text { name: name.to_owned(), text: text.to_owned() });
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sources { file: text("kiki.toml", toml), dot_env: text(".env", dot_env), environment, flags: Vec::new() }
}

fn load(toml: &str, dot_env: &str, environment: &[(&str, &str)]) -> Result<Loaded, Mistakes> {
    Config::load(&sources(toml, dot_env, environment))
}

fn mistakes(toml: &str, dot_env: &str, environment: &[(&str, &str)]) -> Vec<String> {
    load(toml, dot_env, environment).unwrap_err().0.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_set_is_a_development_machine() {
    let loaded = Config::load(&Sources::default()).unwrap();
    let config = &loaded.config;
    assert_eq!(config.environment, Environment::Development);
    assert_eq!(config.host, IpAddr::from(Ipv4Addr::LOCALHOST));
    assert_eq!((config.max_burst_budget_micros, config.window_seconds), (500_000_000, 60));
    assert_eq!((config.retention_days, config.port), (2_555, None));
    assert_eq!(config.shield_url.to_string(), "http://localhost:8081/check");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn each_layer_overrides_the_one_below() {
    let toml = "[spend]\nwindow_seconds = 1\nmax_burst_budget = 0.10\n[server]\nport = 1\n[audit]\nretention_days = 1";
    let dot_env = "# a comment\nWINDOW_SECONDS=2\nexport PORT='2'\nRETENTION_DAYS=2\n";
    let mut all = sources(toml, dot_env, &[("WINDOW_SECONDS", "3.0"), ("PORT", "3"), ("RETENTION_DAYS", "")]);
    all.flags = vec![Flag { flag: "--port", variable: "PORT", value: "4".to_owned() }];
    let loaded = Config::load(&all).unwrap();
    assert_eq!(loaded.config.port, Some(4));
    assert_eq!(loaded.config.window_seconds, 3);
    assert_eq!(loaded.config.retention_days, 2, "set to nothing is not set");
    assert_eq!(loaded.config.max_burst_budget_micros, 100_000);
    for (variable, origin) in [
        ("PORT", Origin::Flag("--port")),
        ("WINDOW_SECONDS", Origin::Environment),
        ("RETENTION_DAYS", Origin::DotEnv(".env".to_owned(), 4)),
        ("MAX_BURST_BUDGET", Origin::File("kiki.toml".to_owned(), 3)),
        ("KIKI_DATA", Origin::Default),
    ] {
        assert_eq!(loaded.origin(variable), Some(&origin), "{variable}");
    }
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let toml = "env = \"staging\"\n[spend]\nwindow_seconds = 0\nmax_burst_budgets = 5\n[server]\nport = [1]\n[nonsense]\nx = 1";
    let environment = [("MAX_BURST_BUDGET", "NaN"), ("KIKI_TURST", "network"), ("LTV_GRPC_ADDR", "localhost")];
    let told = mistakes(toml, "RETENTION_DAYS=many", &environment).join("\n");
    for part in [
        "kiki.toml:1: env = \"staging\": expected development or production",
        "kiki.toml:3: spend.window_seconds = \"0\": expected whole seconds from 1 to 31622400",
        "kiki.toml:4: spend.max_burst_budgets is no setting; did you mean spend.max_burst_budget?",
        "kiki.toml:6: server.port: expected a text or a number",
        "kiki.toml:7: nonsense is no setting",
        ".env:1: RETENTION_DAYS = \"many\": expected whole days from 1 to 36525",
        "environment: MAX_BURST_BUDGET = \"NaN\": expected a decimal amount above 0",
        "environment: KIKI_TURST is no setting; did you mean KIKI_TRUST?",
        "environment: LTV_GRPC_ADDR = \"localhost\": expected host:port",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    assert_eq!(told.lines().count(), 9, "{told}");
}

#[test]
fn a_broken_file_names_its_line() {
    assert!(mistakes("env = \"production\"\nhost = [", "", &[])[0].starts_with("kiki.toml:2: is not TOML"));
    for (line, dot_env) in [
        (2, "GOOD=1\nINTERNAL_API_KEY=\"hunter2hunter2hunter2"),
        (4, "GOOD=1\n\n# not hunter2 ok\nINTERNAL_API_KEY=hunter2 ok\nHOST=a"),
        (1, "just hunter2\nGOOD=1\n"),
    ] {
        assert_eq!(mistakes("", dot_env, &[]), [format!(".env:{line}: is not NAME=value")]);
    }
}

#[test]
fn names_that_somebody_else_set_are_only_mentioned() {
    let loaded = load("", "", &[("KIKI_SHIELD_PORT_8081_TCP", "tcp://10.0.0.1:8081"), ("PATH", "/bin")]).unwrap();
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
}

#[test]
fn a_public_host_wants_trust() {
    let told = mistakes("", "", &[("KIKI_HOST", "0.0.0.0")]);
    assert!(told[0].contains("--trust network"), "{told:?}");
    let loaded = load("", "", &[("KIKI_HOST", "0.0.0.0"), ("KIKI_TRUST", "network")]).unwrap();
    assert!(loaded.warnings.iter().any(|warning| warning.contains("INTERNAL_API_KEY")), "{:?}", loaded.warnings);
}

#[test]
fn risky_production_is_warned_about() {
    let warnings = load("env = \"production\"", "", &[]).unwrap().warnings.join("\n");
    for named in ["DATABASE_URL", "INTERNAL_API_KEY", "KIKI_MASTER"] {
        assert!(warnings.contains(named), "{warnings}");
    }
    let environment = [
        ("KIKI_ENV", "production"),
        ("DATABASE_URL", "postgres://db/kiki"),
        ("INTERNAL_API_KEY", "0123456789abcdef"),
        ("KIKI_MASTER", "vault:https://vault.example:8200/transit/kiki"),
        ("VAULT_TOKEN", "hvs.token"),
    ];
    assert!(load("", "", &environment).unwrap().warnings.is_empty());
}

#[test]
fn a_master_key_elsewhere_wants_its_credentials() {
    for (master, lacks) in [
        ("env", "KIKI_MASTER_KEY"),
        ("vault:https://vault.example:8200/transit/kiki", "VAULT_TOKEN"),
        ("aws-kms:eu-central-1:alias/kiki", "AWS_ACCESS_KEY_ID"),
    ] {
        let told = mistakes("", "", &[("KIKI_MASTER", master)]);
        assert!(told.len() == 1 && told[0].contains(lacks), "{told:?}");
    }
}

#[test]
fn secrets_are_in_nothing_that_is_printed() {
    let secret = "hunter2hunter2hunter2";
    let url = format!("postgres://kiki:{secret}@db/kiki");
    let secrets = [
        ("INTERNAL_API_KEY", secret),
        ("SENDGRID_API_KEY", secret),
        ("TWILIO_AUTH_TOKEN", secret),
        ("DATABASE_URL", url.as_str()),
        ("REDIS_ADDR", url.as_str()),
    ];
    let sources = sources("", "", &secrets);
    let loaded = Config::load(&sources).unwrap();
    let printed = format!("{}\n{loaded:?}\n{sources:?}\n{:?}", loaded.describe(), loaded.warnings);
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("postgres://kiki:***@db/kiki"), "{printed}");
    assert_eq!(loaded.config.internal_api_key.unwrap().expose(), secret);
    assert_eq!(loaded.config.database_url.unwrap().expose(), url);

    let wrong = format!("{secret} with a space");
    let told =
        mistakes("", "", &[("INTERNAL_API_KEY", &wrong), ("DATABASE_URL", &wrong), ("TWILIO_FROM_NUMBER", &wrong)]);
    assert!(told.len() == 3 && !told.join("").contains("hunter2"), "{told:?}");
}

#[test]
fn what_is_in_force_is_shown_with_its_origin() {
    let shown = load("[spend]\nwindow_seconds = 5", "", &[("PORT", "9000")]).unwrap().describe();
    let words = |start: &str| {
        shown.lines().find(|line| line.starts_with(start)).unwrap().split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(words("WINDOW_SECONDS"), ["WINDOW_SECONDS", "\"5\"", "kiki.toml:2"]);
    assert_eq!(words("PORT"), ["PORT", "\"9000\"", "environment"]);
    assert_eq!(words("DATABASE_URL"), ["DATABASE_URL", "(not", "set)", "default"]);
    assert_eq!(shown.lines().count(), SETTINGS.len());
}

#[test]
fn the_default_file_sets_the_defaults() {
    let text = default_toml();
    // Every line that is commented out with a value, put in force.
    let active: Vec<_> = text
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|line| line.split_once(" = ").is_some_and(|(name, _)| !name.contains(' ')))
                .unwrap_or(line)
        })
        .collect();
    let loaded = load(&active.join("\n"), "", &[]).unwrap();
    assert_eq!(format!("{:?}", loaded.config), format!("{:?}", Config::load(&Sources::default()).unwrap().config));
    for setting in SETTINGS {
        assert!(
            matches!(loaded.origin(setting.variable), Some(Origin::File(..))),
            "{} is not in the file",
            setting.key
        );
    }
}

#[test]
fn files_are_found_or_named() {
    let folder = tempfile::tempdir().unwrap();
    let read = |file: Option<&str>, environment: &[(&str, &str)]| {
        let path = file.map(|file| folder.path().join(file));
        let environment: Vec<_> = environment.iter().map(|(n, v)| (OsString::from(n), OsString::from(v))).collect();
        Sources::read(folder.path(), path.as_deref(), environment.into_iter(), Vec::new())
    };
    assert!(read(None, &[]).unwrap().file.is_none());
    std::fs::write(folder.path().join("kiki.toml"), "env = \"production\"").unwrap();
    std::fs::write(folder.path().join("other.toml"), "data = \"/other\"").unwrap();
    std::fs::write(folder.path().join(".env"), "PORT=1").unwrap();
    let found = Config::load(&read(None, &[]).unwrap()).unwrap().config;
    assert_eq!((found.environment, found.port), (Environment::Production, Some(1)));
    let other = folder.path().join("other.toml");
    for named in [read(Some("other.toml"), &[]), read(None, &[("KIKI_CONFIG", other.to_str().unwrap())])] {
        assert_eq!(Config::load(&named.unwrap()).unwrap().config.data.to_str(), Some("/other"));
    }
    assert!(read(Some("missing.toml"), &[]).unwrap_err().to_string().contains("missing.toml"));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(toml in "[a-z.=\"\\[\\]{} \n0-9]{0,60}|\\PC{0,40}", dot_env in "[A-Z_=\"'\n a-z0-9$#]{0,60}|\\PC{0,40}", value in "\\PC{0,40}") {
        let environment: Vec<_> = SETTINGS.iter().map(|setting| (setting.variable, value.as_str())).collect();
        drop(load(&toml, &dot_env, &environment));
        drop(load(&toml, &dot_env, &[]));
    }
}
