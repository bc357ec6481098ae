//! `kiki spend top`: live budgets in the terminal.
//!
//! On a terminal it takes the alternate screen and gives it back however it ends; elsewhere it prints once. What is shown is
//! made by pure functions from what the service said, the size of the screen and nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;
use kiki_client::{Budget, BudgetMode, Client, Figure, Limit};
use kiki_kit::config::Config;
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::live::Service;
use crate::console::say;

/// The size of a screen that does not tell its size.
const SIZE: (usize, usize) = (80, 24);
/// Lines above and below the budgets.
const FRAME_LINES: usize = 3;
const BAR_WIDTH: usize = 20;
const HUNDRED: i128 = 100;

/// What `kiki spend top` is asked for.
#[derive(Args, Debug)]
pub struct Options {
    /// Seconds between two looks.
    #[arg(long, default_value_t = 1, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Prints once and ends.
    #[arg(long)]
    once: bool,
    /// Prints a line of JSON for each look.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    service: Service,
}

/// What a look shows.
#[derive(Debug, Serialize)]
struct Look {
    budgets: Vec<Budget>,
    /// The accounts that are stopped.
    stops: Vec<String>,
    /// Decisions of each outcome since the service was started.
    decisions: BTreeMap<String, u64>,
}

impl Look {
    async fn take(client: &Client) -> Result<Self, kiki_client::Error> {
        let (budgets, stops, decisions) = tokio::try_join!(client.budgets(), client.stops(), client.decisions())?;
        let mut look = Self { budgets, stops, decisions };
        look.budgets.sort_by(|a, b| share(b).cmp(&share(a)).then_with(|| a.id.cmp(&b.id)));
        Ok(look)
    }
}

/// Looks until it is told to end.
///
/// # Errors
/// The service does not answer the first look, or the terminal cannot be written.
pub(super) async fn run(options: Options, config: &Config) -> anyhow::Result<()> {
    let client = options.service.client(config)?;
    let first = Look::take(&client).await?;
    let is_live = io::stdout().is_terminal() && !options.once;
    if options.json {
        say(serde_json::to_string(&first)?)?;
        return if options.once { Ok(()) } else { lines(&client, options.every).await };
    }
    if !is_live {
        let width = if io::stdout().is_terminal() { size().0 } else { usize::MAX };
        return Ok(say(screen(&first, None, width, usize::MAX).join("\n"))?);
    }
    live(&client, options.every, first).await
}

/// A line of JSON for each look, until the reader goes away.
async fn lines(client: &Client, every: u64) -> anyhow::Result<()> {
    let mut end = End::new()?;
    while end.pause(every).await {
        say(serde_json::to_string(&Look::take(client).await?)?)?;
    }
    Ok(())
}

async fn live(client: &Client, every: u64, mut look: Look) -> anyhow::Result<()> {
    let mut end = End::new()?;
    let screen_of_ours = Alternate::enter()?;
    let mut trouble = None;
    loop {
        let (width, height) = size();
        screen_of_ours.draw(&screen(&look, trouble.as_deref(), width, height))?;
        if !end.pause(every).await {
            return Ok(());
        }
        let taken = tokio::select! {
            taken = Look::take(client) => taken,
            () = end.comes() => return Ok(()),
        };
        match taken {
            Ok(taken) => (look, trouble) = (taken, None),
            Err(error) => trouble = Some(format!("{error}; shown is what was told last")),
        }
    }
}

/// Being told to end: by Ctrl-C or by a supervisor.
struct End {
    interrupt: Signal,
    terminate: Signal,
}

impl End {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn comes(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits; false if it is time to end.
    async fn pause(&mut self, seconds: u64) -> bool {
        tokio::time::timeout(Duration::from_secs(seconds), self.comes()).await.is_err()
    }
}

/// The terminal's other screen, without a cursor, for as long as this lives.
struct Alternate;

impl Alternate {
    fn enter() -> io::Result<Self> {
        write_at_once("\x1b[?1049h\x1b[?25l")?;
        Ok(Self)
    }

    #[expect(clippy::unused_self, reason = "only who has the screen draws on it")]
    fn draw(&self, lines: &[String]) -> io::Result<()> {
        let mut frame = String::from("\x1b[H");
        for (at, line) in lines.iter().enumerate() {
            frame.push_str(if at == 0 { "" } else { "\r\n" });
            frame.push_str(line);
            frame.push_str("\x1b[K");
        }
        frame.push_str("\x1b[J");
        write_at_once(&frame)
    }
}

impl Drop for Alternate {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = write_at_once("\x1b[?25h\x1b[?1049l");
    }
}

fn write_at_once(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Columns and lines of the terminal.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => SIZE,
    }
}

/// The account as people see it: the tenant itself has no name.
pub(super) fn shown_account(account: &str) -> &str {
    if account.is_empty() { "/" } else { account }
}

/// The most that a budget allows, where that is a number.
pub(super) fn most(budget: &Budget) -> Option<Figure> {
    match budget.limit {
        Limit::Window { amount, .. } | Limit::Total { amount } | Limit::Calendar { amount, .. } => {
            Some(Figure::Amount(amount))
        }
        Limit::Each { most, .. } => Some(Figure::Amount(most)),
        Limit::Approval { above, .. } => Some(Figure::Amount(above)),
        Limit::Velocity { count, .. } | Limit::Occurrences { count, .. } => Some(Figure::Count(count.into())),
        _ => None,
    }
}

pub(super) fn mode(budget: &Budget) -> &'static str {
    match budget.mode {
        BudgetMode::Enforce => "enforce",
        BudgetMode::Shadow => "shadow",
    }
}

/// Percent of a budget that is used or held. A limit that counts nothing is never used up, and is sorted last.
fn share(budget: &Budget) -> Option<i128> {
    let most = most(budget)?.number();
    let taken = taken(Some(budget.used?)) + taken(budget.held);
    Some(if most > 0 { taken * HUNDRED / i128::from(most) } else { HUNDRED })
}

fn taken(figure: Option<Figure>) -> i128 {
    figure.map_or(0, |figure| figure.number().into())
}

fn is_stopped(budget: &Budget, stops: &[String]) -> bool {
    let above = |stop: &String| {
        let below = budget.account.strip_prefix(stop.as_str());
        stop.is_empty() || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    stops.iter().any(above)
}

/// Used in full blocks, held in light ones.
fn bar(budget: &Budget) -> String {
    let most = most(budget).map_or(0, Figure::number);
    if most <= 0 || share(budget).is_none() {
        return String::new();
    }
    let cells = |amount: i128| {
        let cells = amount * BAR_WIDTH as i128 / i128::from(most);
        usize::try_from(cells).unwrap_or(0).min(BAR_WIDTH)
    };
    let used = cells(taken(budget.used));
    let both = cells(taken(budget.used) + taken(budget.held)).max(used);
    format!("{}{}{}", "█".repeat(used), "▒".repeat(both - used), "·".repeat(BAR_WIDTH - both))
}

/// A column of the table. Those with the highest number go first where the screen is narrow.
struct Column {
    header: &'static str,
    goes: u8,
    is_number: bool,
    cell: fn(&Budget) -> String,
}

const fn text(header: &'static str, goes: u8, cell: fn(&Budget) -> String) -> Column {
    Column { header, goes, is_number: false, cell }
}

const fn number(header: &'static str, goes: u8, cell: fn(&Budget) -> String) -> Column {
    Column { header, goes, is_number: true, cell }
}

const COLUMNS: [Column; 10] = [
    text("BUDGET", 0, |budget| budget.id.clone()),
    text("ACCOUNT", 5, |budget| shown_account(&budget.account).to_owned()),
    text("KIND", 8, |budget| budget.limit.kind().to_owned()),
    text("", 6, bar),
    number("SHARE", 0, |budget| share(budget).map_or_else(String::new, |share| format!("{share} %"))),
    number("USED", 3, |budget| shown(budget.used)),
    number("HELD", 4, |budget| shown(budget.held)),
    number("REMAINING", 1, |budget| shown(budget.remaining)),
    number("LIMIT", 2, |budget| shown(most(budget))),
    text("FREES AT", 7, |budget| budget.frees_at.map_or_else(String::new, kiki_types::UnixMillis::rfc3339)),
];

pub(super) fn shown(figure: Option<Figure>) -> String {
    figure.map(|figure| figure.to_string()).unwrap_or_default()
}

fn marks(budget: &Budget, stops: &[String]) -> String {
    let mut marks = Vec::new();
    if is_stopped(budget, stops) {
        marks.push("STOPPED");
    }
    if budget.mode == BudgetMode::Shadow {
        marks.push("shadow");
    }
    marks.join(" ")
}

/// The lines of a screen of `width` columns and `height` lines, none wider than it.
fn screen(look: &Look, trouble: Option<&str>, width: usize, height: usize) -> Vec<String> {
    let room = height.saturating_sub(FRAME_LINES).max(1);
    let shown = look.budgets.len().min(room);
    let mut lines = vec![heading(look)];
    lines.extend(table(&look.budgets[..shown], &look.stops, width));
    let hidden = look.budgets.len() - shown;
    match trouble {
        Some(trouble) => lines.push(trouble.to_owned()),
        None if hidden > 0 => lines.push(format!("and {hidden} more")),
        None => {}
    }
    lines.truncate(height);
    lines.into_iter().map(|line| cut(&line, width)).collect()
}

fn heading(look: &Look) -> String {
    let count = |outcome: &str| look.decisions.get(outcome).copied().unwrap_or(0);
    let accepted: u64 = ["held", "captured"].into_iter().map(count).sum();
    let mut line =
        format!("{} budgets; since start {accepted} accepted, {} denied", look.budgets.len(), count("denied"));
    if !look.stops.is_empty() {
        let accounts: Vec<&str> = look.stops.iter().map(|stop| shown_account(stop)).collect();
        // Writing to a text does not fail.
        let _ = write!(line, "; stopped: {}", accounts.join(", "));
    }
    line
}

/// The header and a line for each budget, with as many columns as fit.
fn table(budgets: &[Budget], stops: &[String], width: usize) -> Vec<String> {
    let marks: Vec<String> = budgets.iter().map(|budget| marks(budget, stops)).collect();
    let cells = |column: &Column| budgets.iter().map(|budget| (column.cell)(budget)).collect::<Vec<_>>();
    let mut columns: Vec<(&Column, Vec<String>)> = COLUMNS.iter().map(|column| (column, cells(column))).collect();
    columns.retain(|(_, cells)| cells.iter().any(|cell| !cell.is_empty()));
    let marks_width = marks.iter().map(|mark| columns_of(mark)).max().unwrap_or(0);
    while columns.iter().map(|(column, cells)| width_of(column, cells) + 2).sum::<usize>() + marks_width > width {
        let Some((at, _)) =
            columns.iter().enumerate().filter(|(_, (c, _))| c.goes > 0).max_by_key(|(_, (c, _))| c.goes)
        else {
            break;
        };
        columns.remove(at);
    }
    let row = |at: Option<usize>| {
        let mut line = String::new();
        for (column, cells) in &columns {
            let cell = at.map_or(column.header, |at| cells[at].as_str());
            let padding = " ".repeat(width_of(column, cells) - columns_of(cell));
            let (before, after) = if column.is_number { (padding.as_str(), "") } else { ("", padding.as_str()) };
            let _ = write!(line, "{before}{cell}{after}  ");
        }
        line.push_str(at.map_or("", |at| marks[at].as_str()));
        line.trim_end().to_owned()
    };
    std::iter::once(None).chain((0..budgets.len()).map(Some)).map(row).collect()
}

fn width_of(column: &Column, cells: &[String]) -> usize {
    cells.iter().map(|cell| columns_of(cell)).max().unwrap_or(0).max(columns_of(column.header))
}

/// Columns that a text takes: names are plain characters of one column each.
fn columns_of(text: &str) -> usize {
    text.chars().count()
}

/// What fits, without what could move the cursor: names come from elsewhere.
fn cut(line: &str, width: usize) -> String {
    line.chars().map(|shown| if shown.is_control() { '?' } else { shown }).take(width).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn budget(id: &str, account: &str, used: &str, held: &str) -> Budget {
        serde_json::from_value(json!({"id": id, "account": account, "used": used, "held": held, "remaining": "1.00",
            "limit": {"kind": "total", "amount": "10.00"}, "currency": "USD"}))
        .unwrap()
    }

    fn look() -> Look {
        let mut each = budget("each", "desk", "0.00", "0.00");
        each.limit = Limit::Each { least: None, most: "5.00".parse().unwrap() };
        (each.used, each.held) = (None, None);
        let budgets = vec![budget("a", "desk/agent", "5.00", "2.50"), budget("b", "desktop", "1.00", "0.00"), each];
        Look {
            budgets,
            stops: vec!["desk".into()],
            decisions: BTreeMap::from([("held".into(), 7), ("denied".into(), 2)]),
        }
    }

    #[test]
    fn a_wide_screen_shows_everything() {
        let lines = screen(&look(), None, 200, 24);
        assert_eq!(lines[0], "3 budgets; since start 7 accepted, 2 denied; stopped: desk");
        assert_eq!(
            lines[1].split_whitespace().collect::<Vec<_>>(),
            ["BUDGET", "ACCOUNT", "KIND", "SHARE", "USED", "HELD", "REMAINING", "LIMIT"]
        );
        let cells: Vec<_> = lines[2].split_whitespace().collect();
        assert_eq!(
            cells,
            ["a", "desk/agent", "total", "██████████▒▒▒▒▒·····", "75", "%", "5.00", "2.50", "1.00", "10.00", "STOPPED"]
        );
        assert!(!lines[3].contains("STOPPED"), "desktop is not below desk: {}", lines[3]);
    }

    #[test]
    fn a_small_screen_keeps_what_matters_and_is_never_left() {
        for (width, height) in [(0, 0), (1, 1), (10, 3), (30, 5), (60, 24)] {
            let lines = screen(&look(), Some("no answer"), width, height);
            assert!(lines.len() <= height, "{height}: {lines:?}");
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}: {lines:?}");
        }
        let narrow = screen(&look(), None, 40, 5);
        assert!(narrow[1].contains("SHARE") && narrow[1].contains("REMAINING") && !narrow[1].contains("KIND"));
        assert_eq!(screen(&look(), None, 40, 5).last().unwrap(), "and 1 more");
    }

    #[test]
    fn a_limit_on_each_amount_is_not_used_up() {
        assert_eq!(look().budgets.iter().map(share).collect::<Vec<_>>(), [Some(75), Some(10), None]);
        assert_eq!(bar(&look().budgets[2]), "");
    }

    #[test]
    fn a_limit_on_how_often_counts_in_whole_numbers() {
        let limit = json!({"kind": "velocity", "count": 4, "seconds": 60});
        let budget = json!({"id": "v", "account": "", "used": "2", "held": "1", "remaining": "1", "limit": limit,
            "currency": "USD"});
        let budget = serde_json::from_value(budget).unwrap();
        assert_eq!((share(&budget), bar(&budget)), (Some(75), "██████████▒▒▒▒▒·····".to_owned()));
        assert_eq!((shown(most(&budget)), shown(budget.used)), ("4".to_owned(), "2".to_owned()));
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert_eq!(cut("a\x1b[2Jb", 10), "a?[2Jb");
    }
}
