//! `kiki spend stop`, `resume`, `stops`, `approvals`, `budgets`, `budget`, `top`: the verbs of those who watch, asked of a
//! running service.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use kiki_client::{Authorization, AuthorizationId, Budget, Client, Limit, NewBudget};
use kiki_kit::config::Config;
use serde_json::{Map, Value, json};

use super::top;
use crate::cli::runtime;
use crate::console::say;

/// How long a service that does not answer is tried.
const DEADLINE: Duration = Duration::from_secs(5);

/// What can be asked of a running service.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Refuses every new authorization of an account and of everything below it.
    Stop {
        /// Such as growth/winback; / is all of them.
        account: String,
        #[command(flatten)]
        service: Service,
    },
    /// Lets an account that was stopped go on.
    Resume {
        /// As it was stopped.
        account: String,
        #[command(flatten)]
        service: Service,
    },
    /// Lists the accounts that are stopped.
    Stops {
        #[command(flatten)]
        list: List,
    },
    /// Lists what waits for approval; approves or rejects it.
    Approvals {
        #[command(subcommand)]
        verb: Option<Approval>,
        #[command(flatten)]
        list: List,
    },
    /// Lists the budgets and how they stand.
    Budgets {
        #[command(flatten)]
        list: List,
    },
    /// Defines, replaces or removes a budget.
    #[command(subcommand)]
    Budget(BudgetVerb),
    /// Shows live budgets in the terminal, those nearest to their limit first.
    Top(top::Options),
}

/// What becomes of a request that waits.
#[derive(Debug, Subcommand)]
pub enum Approval {
    /// Whoever asked may go on.
    Approve {
        /// The authorization's id.
        id: AuthorizationId,
        #[command(flatten)]
        service: Service,
    },
    /// The money is free again.
    Reject {
        /// The authorization's id.
        id: AuthorizationId,
        #[command(flatten)]
        service: Service,
    },
}

/// What is done to a budget.
#[derive(Debug, Subcommand)]
pub enum BudgetVerb {
    /// Defines a budget or replaces it; what was spent under it stays counted.
    ///
    /// Which options belong to a kind is the service's to say: it names what is missing.
    #[command(after_help = "Examples:
  kiki spend budget set growth --account growth --kind total --amount 100
  kiki spend budget set burst --account growth --kind window --amount 20 --seconds 60
  kiki spend budget set each --account growth --kind each --most 5 --mode shadow")]
    Set(Box<BudgetOptions>),
    /// Removes a budget.
    Remove {
        /// Its id.
        id: String,
        #[command(flatten)]
        service: Service,
    },
}

/// A budget to be.
#[derive(Args, Debug)]
pub struct BudgetOptions {
    /// Its id.
    id: String,
    /// The account that it governs, with everything below; absent: all of them.
    #[arg(long, default_value = "")]
    account: String,
    /// window, total, calendar, each, velocity, occurrences, allow, deny, between or approval.
    #[arg(long)]
    kind: String,
    /// window, total, calendar: the most.
    #[arg(long)]
    amount: Option<String>,
    /// each: the least.
    #[arg(long)]
    least: Option<String>,
    /// each: the most.
    #[arg(long)]
    most: Option<String>,
    /// window, velocity, approval: a length of time.
    #[arg(long)]
    seconds: Option<u32>,
    /// velocity, occurrences: the most.
    #[arg(long)]
    count: Option<u32>,
    /// calendar, occurrences: day, week, month, quarter or year.
    #[arg(long)]
    unit: Option<String>,
    /// calendar, occurrences: an IANA time zone.
    #[arg(long)]
    zone: Option<String>,
    /// allow, deny: category or payee.
    #[arg(long)]
    field: Option<String>,
    /// allow, deny: what passes, or does not; separated by commas.
    #[arg(long, value_delimiter = ',')]
    values: Vec<String>,
    /// approval: what passes without one.
    #[arg(long)]
    above: Option<String>,
    /// between: the first moment, RFC 3339.
    #[arg(long)]
    from: Option<String>,
    /// between: the moment after the last.
    #[arg(long)]
    until: Option<String>,
    /// approval: whoever asked may not approve.
    #[arg(long)]
    four_eyes: bool,
    /// enforce refuses; shadow says what it would refuse.
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    #[command(flatten)]
    service: Service,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Mode {
    #[default]
    Enforce,
    Shadow,
}

/// Which service is asked. The key is the setting INTERNAL_API_KEY.
#[derive(Args, Clone, Debug)]
pub struct Service {
    /// Where shield answers.
    #[arg(long, default_value = "http://127.0.0.1:8081", value_name = "ADDRESS")]
    url: String,
}

/// A list from a service.
#[derive(Args, Clone, Debug)]
pub struct List {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    service: Service,
}

impl Service {
    /// A client of it.
    pub(super) fn client(&self, config: &Config) -> anyhow::Result<Client> {
        let builder = Client::builder(&self.url).timeout(DEADLINE).deadline(DEADLINE);
        let builder = match &config.internal_api_key {
            Some(key) => builder.api_key(key.expose()),
            None => builder,
        };
        Ok(builder.build()?)
    }
}

/// Runs the command.
///
/// # Errors
/// The service does not answer, or does not do what it is asked.
pub(super) fn run(command: Command, config: &Config) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        match command {
            Command::Top(options) => top::run(options, config).await?,
            command => done(command, config).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn done(command: Command, config: &Config) -> anyhow::Result<()> {
    match command {
        Command::Stop { account, service } => {
            service.client(config)?.stop(account_of(&account)).await?;
            say(format_args!("stopped: {account}"))?;
        }
        Command::Resume { account, service } => {
            service.client(config)?.resume(account_of(&account)).await?;
            say(format_args!("goes on: {account}"))?;
        }
        Command::Stops { list } => {
            let stops = list.service.client(config)?.stops().await?;
            list.print(&stops, stops_table)?;
        }
        Command::Approvals { verb, list } => approvals(verb, &list, config).await?,
        Command::Budgets { list } => {
            let budgets = list.service.client(config)?.budgets().await?;
            list.print(&budgets, budgets_table)?;
        }
        Command::Budget(BudgetVerb::Set(options)) => {
            let client = options.service.client(config)?;
            let budget = client.put_budget(&options.id, &options.budget()).await?;
            say(budgets_table(&[budget]))?;
        }
        Command::Budget(BudgetVerb::Remove { id, service }) => {
            service.client(config)?.delete_budget(&id).await?;
            say(format_args!("removed: {id}"))?;
        }
        Command::Top(options) => top::run(options, config).await?,
    }
    Ok(())
}

async fn approvals(verb: Option<Approval>, list: &List, config: &Config) -> anyhow::Result<()> {
    let (id, now) = match verb {
        None => {
            let waiting = list.service.client(config)?.approvals().await?;
            return list.print(&waiting, approvals_table);
        }
        Some(Approval::Approve { id, service }) => (id, service.client(config)?.approve(id).await?),
        Some(Approval::Reject { id, service }) => (id, service.client(config)?.reject(id).await?),
    };
    Ok(say(format_args!("{}: {id}", now.state))?)
}

/// The tenant itself has no name to type.
fn account_of(typed: &str) -> &str {
    if typed == "/" { "" } else { typed }
}

impl List {
    /// A client of its service.
    pub(crate) fn client(&self, config: &Config) -> anyhow::Result<Client> {
        self.service.client(config)
    }

    pub(crate) fn print<T: serde::Serialize>(&self, items: &[T], table: fn(&[T]) -> Table) -> anyhow::Result<()> {
        if self.json {
            say(serde_json::to_string_pretty(items)?)?;
        } else {
            say(table(items))?;
        }
        Ok(())
    }
}

impl BudgetOptions {
    fn budget(&self) -> NewBudget {
        let texts = [
            ("kind", Some(&self.kind)),
            ("amount", self.amount.as_ref()),
            ("least", self.least.as_ref()),
            ("most", self.most.as_ref()),
            ("unit", self.unit.as_ref()),
            ("zone", self.zone.as_ref()),
            ("field", self.field.as_ref()),
            ("above", self.above.as_ref()),
            ("from", self.from.as_ref()),
            ("until", self.until.as_ref()),
        ];
        let numbers = [("seconds", self.seconds), ("count", self.count)];
        let mut limit = Map::new();
        limit.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::from(text?.as_str())))));
        limit.extend(numbers.into_iter().filter_map(|(name, number)| Some((name.to_owned(), Value::from(number?)))));
        if !self.values.is_empty() {
            limit.insert("values".to_owned(), json!(self.values));
        }
        if self.four_eyes {
            limit.insert("four_eyes".to_owned(), json!(true));
        }
        let budget = NewBudget::new(self.account.as_str(), Limit::Other(limit));
        if self.mode == Mode::Shadow { budget.shadow() } else { budget }
    }
}

/// An empty table.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(header);
    table
}

fn stops_table(stops: &[String]) -> Table {
    let mut rows = table(&["stopped account"]);
    for account in stops {
        rows.add_row([top::shown_account(account)]);
    }
    rows
}

fn approvals_table(waiting: &[Authorization]) -> Table {
    let mut rows = table(&["waits for approval", "account", "amount", "until"]);
    for one in waiting {
        let until = one.expires_at.map(|at| at.to_string()).unwrap_or_default();
        rows.add_row([one.id.to_string(), top::shown_account(&one.account).to_owned(), one.amount.to_string(), until]);
    }
    rows
}

fn budgets_table(budgets: &[Budget]) -> Table {
    let mut rows = table(&["budget", "account", "kind", "mode", "used", "held", "remaining", "limit"]);
    for budget in budgets {
        rows.add_row([
            budget.id.clone(),
            top::shown_account(&budget.account).to_owned(),
            budget.limit.kind().to_owned(),
            top::mode(budget).to_owned(),
            top::shown(budget.used),
            top::shown(budget.held),
            top::shown(budget.remaining),
            top::shown(top::most(budget)),
        ]);
    }
    rows
}
