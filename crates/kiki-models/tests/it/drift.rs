//! The watch for drift over a year of weekly looks: how often it cries out where nothing changed, and how long it takes where
//! something did. Customers are drawn from a model, which is then fitted to their first 39 weeks; they and newcomers go on as
//! they were, or not.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kiki_models::ltv::{
    BgNbd, Comparison, Fit, GammaGamma, History, Leaves, Life, Lives, MbgNbd, Parametric, ParetoNbd, PurchaseModel,
    Scale, Seen, Spend, Verdict, simulate_spend,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const CALIBRATION_DAYS: u32 = 39 * 7;
/// Customers come in over as long.
const ENTRY_DAYS: u32 = 12 * 7;
const WEEKS: u32 = 52;
const END_DAY: u32 = CALIBRATION_DAYS + WEEKS * 7;
const MEASURES: usize = 3;

/// What is different from a day on.
#[derive(Clone, Copy)]
struct Change {
    /// In days after the calibration.
    from_day: u32,
    /// Purchases come so many times as often.
    rate: f64,
    /// Customers leave so many times as often.
    leaving: f64,
    /// And spend so many times as much.
    spend: f64,
}

const NOTHING: Change = Change { from_day: 0, rate: 1.0, leaving: 1.0, spend: 1.0 };

fn weeks(days: u32) -> f64 {
    f64::from(days) / 7.0
}

/// The days after the first purchase, which is on the day 0, on which there is one; `changes` is the day of the change.
fn days_of(life: Life, days: u32, changes: u32, change: Change, random: &mut StdRng) -> Vec<u32> {
    let (changes, mut end) = (weeks(changes), weeks(days));
    let (probability, also_first) = match life.leaves {
        Leaves::AfterPurchase { probability, also_first } => (probability, also_first),
        Leaves::At(at) => {
            end = end.min(if at > changes { changes + (at - changes) / change.leaving } else { at });
            (0.0, false)
        }
    };
    let leaves = |at: f64, random: &mut StdRng| {
        let times = if at >= changes { change.leaving } else { 1.0 };
        random.random::<f64>() < probability * times
    };
    let (mut days, mut undisturbed) = (Vec::new(), 0.0);
    if also_first && leaves(0.0, random) {
        return days;
    }
    for _ in 0..10_000 {
        undisturbed -= (-random.random::<f64>()).ln_1p() / life.rate.max(f64::MIN_POSITIVE);
        let at = if undisturbed > changes { changes + (undisturbed - changes) / change.rate } else { undisturbed };
        if at >= end {
            break;
        }
        let day = (0..).take_while(|&day| weeks(day) <= at).last().unwrap();
        if day > days.last().copied().unwrap_or(0) {
            days.push(day);
        }
        if leaves(at, random) {
            break;
        }
    }
    days
}

struct Customer {
    history: History,
    monetary: f64,
    /// Days after the calibration, and what was spent.
    later: Vec<(u32, f64)>,
}

struct World {
    known: Vec<Customer>,
    /// The day of the first purchase after the calibration, and those of repeat purchases.
    newcomers: Vec<(u32, Vec<u32>)>,
}

fn drawn(truth: &impl Lives, spend: &GammaGamma, customers: u32, change: Change, seed: u64) -> World {
    let mut random = StdRng::seed_from_u64(seed);
    let life = |first: u32, random: &mut StdRng| {
        let life = truth.life(&mut || random.random());
        let changes = (CALIBRATION_DAYS + change.from_day).saturating_sub(first);
        days_of(life, END_DAY - first, changes, change, random)
    };
    let mut known = |number: u32| {
        let first = number % ENTRY_DAYS;
        let (days, age) = (life(first, &mut random), CALIBRATION_DAYS - first);
        let worth = simulate_spend(spend, days.len(), &mut || random.random());
        let before = days.iter().take_while(|&&day| day <= age).count();
        let recency = days[..before].last().copied().unwrap_or(0);
        let history = History::new(before as f64, weeks(recency), weeks(age)).unwrap();
        let monetary = if before > 0 { worth[..before].iter().sum::<f64>() / before as f64 } else { 0.0 };
        let times = |day: u32| if day > change.from_day { change.spend } else { 1.0 };
        let later = days.iter().zip(&worth).skip(before).map(|(day, worth)| (day - age, worth * times(day - age)));
        Customer { history, monetary, later: later.collect() }
    };
    let known = (0..customers).map(&mut known).collect();
    let newcomers = (0..customers).map(|number| {
        let first = 1 + number * WEEKS * 7 / customers;
        (first, life(CALIBRATION_DAYS + first, &mut random))
    });
    World { known, newcomers: newcomers.collect() }
}

/// A model and what is looked at.
struct Watch<M> {
    purchases: Fit<M>,
    spend: Fit<GammaGamma>,
    world: World,
    /// Those that differ, and which of them each customer has.
    histories: Vec<History>,
    which: Vec<usize>,
}

impl<M: PurchaseModel + Parametric> Watch<M> {
    /// `None` where the calibration determines no model.
    fn new(world: World) -> Option<Self> {
        let histories: Vec<History> = world.known.iter().map(|one| one.history).collect();
        let spends: Vec<Spend> = world.known.iter().filter_map(|one| Spend::new(&one.history, one.monetary)).collect();
        let (purchases, spend) = (M::fit(&histories).ok()?, GammaGamma::fit(&spends).ok()?);
        let mut distinct: HashMap<(u32, u64, u64), usize> = HashMap::new();
        let mut which = Vec::new();
        let mut differ = Vec::new();
        for history in histories {
            let key = (history.frequency(), history.recency().to_bits(), history.age().to_bits());
            which.push(*distinct.entry(key).or_insert_with(|| {
                differ.push(history);
                differ.len() - 1
            }));
        }
        Some(Self { purchases, spend, world, histories: differ, which })
    }

    /// Of each customer.
    fn expected(&self, model: &M, week: u32) -> Vec<f64> {
        let expected = model.predict_all(&self.histories, f64::from(week));
        self.which.iter().map(|&which| expected[which].purchases).collect()
    }

    /// Purchases, spend a purchase, or purchases of newcomers, up to the end of `week`.
    fn look(&self, measure: usize, week: u32) -> Verdict {
        match measure {
            0 => self.of_purchases(week),
            1 => self.of_spend(week),
            _ => self.of_newcomers(week),
        }
    }

    fn of_purchases(&self, week: u32) -> Verdict {
        let count = |one: &Customer| one.later.iter().filter(|(day, _)| *day <= week * 7).count() as f64;
        let both = self.world.known.iter().zip(self.expected(&self.purchases.model, week));
        let seen: Vec<Seen> = both.map(|(one, expected)| Seen::purchases(count(one), expected)).collect();
        verdict(&seen, None, || {
            let sum = |model: &M| self.expected(model, week).iter().sum();
            self.purchases.estimate(Scale::Positive, sum).standard_error
        })
    }

    fn of_spend(&self, week: u32) -> Verdict {
        let mut bought = Vec::new();
        for one in &self.world.known {
            let until = one.later.iter().filter(|(day, _)| *day <= week * 7);
            let (purchases, spent) = until.fold((0.0, 0.0), |(many, spent), (_, worth)| (many + 1.0, spent + worth));
            if purchases > 0.0 {
                bought.push((purchases, spent, (one.history.frequency(), one.monetary)));
            }
        }
        let seen: Vec<Seen> =
            bought.iter().map(|&(purchases, spent, of)| self.spend.model.seen(spent, purchases, of)).collect();
        verdict(&seen, Some(bought.iter().map(|(purchases, ..)| purchases).sum()), || {
            let sum = |model: &GammaGamma| -> f64 {
                bought.iter().map(|&(many, _, (x, mean))| many * model.expected_order_value(x, mean)).sum()
            };
            self.spend.estimate(Scale::Positive, sum).standard_error
        })
    }

    fn of_newcomers(&self, week: u32) -> Verdict {
        let last = week * 7;
        let there: Vec<_> = self.world.newcomers.iter().filter(|(first, _)| *first <= last).collect();
        let by_age = |model: &M| -> Vec<f64> { (0..=last).map(|days| model.expected_by(weeks(days))).collect() };
        let expected = by_age(&self.purchases.model);
        let seen: Vec<Seen> = there
            .iter()
            .map(|(first, days)| {
                let age = last - first;
                let made = days.iter().filter(|&&day| day <= age).count() as f64;
                Seen::purchases(made, expected[age as usize])
            })
            .collect();
        verdict(&seen, None, || {
            let sum = |model: &M| -> f64 {
                let expected = by_age(model);
                there.iter().map(|(first, _)| expected[(last - first) as usize]).sum()
            };
            self.purchases.estimate(Scale::Positive, sum).standard_error
        })
    }
}

/// As `purchases` were expected, or made. What is not known of the parameters only makes an alarm rarer, so it is looked at
/// only where there would be one without.
fn verdict(seen: &[Seen], made: Option<f64>, of_parameters: impl Fn() -> f64) -> Verdict {
    let purchases = made.unwrap_or_else(|| seen.iter().map(|one| one.expected).sum());
    match Comparison::of(seen, 0.0).verdict(purchases) {
        Verdict::Drifting => Comparison::of(seen, of_parameters()).verdict(purchases),
        other => other,
    }
}

/// The week of the first alarm of each measure in each of `populations`.
fn first_alarms<M: PurchaseModel + Parametric + Lives + Sync>(
    truth: &M,
    customers: u32,
    change: Change,
    populations: u64,
) -> Vec<[Option<u32>; MEASURES]> {
    let spend = GammaGamma::new(6.25, 3.74, 15.45).unwrap();
    let (next, found) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= populations {
            return;
        }
        let Some(watch) = Watch::<M>::new(drawn(truth, &spend, customers, change, seed)) else { continue };
        let alarm = |measure| (1..=WEEKS).find(|&week| watch.look(measure, week) == Verdict::Drifting);
        let first: [Option<u32>; MEASURES] = std::array::from_fn(alarm);
        found.lock().unwrap().push(first);
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    found.into_inner().unwrap()
}

fn cdnow_bgnbd() -> BgNbd {
    BgNbd::new(0.243, 4.414, 0.793, 2.426).unwrap()
}

#[test]
fn a_year_of_looks_is_quiet_where_nothing_changed_and_finds_what_did() {
    let alarms = |change| first_alarms(&cdnow_bgnbd(), 2_000, change, 10);
    let quiet = alarms(NOTHING);
    let loud = quiet.iter().filter(|first| first.iter().any(Option::is_some)).count();
    assert!(loud <= 1, "{quiet:?}");
    let found = |change, measure: usize| alarms(change).iter().filter(|first| first[measure].is_some()).count();
    assert!(found(Change { rate: 0.5, ..NOTHING }, 0) >= 9);
    assert!(found(Change { rate: 2.0, ..NOTHING }, 0) >= 9);
    assert!(found(Change { spend: 1.3, ..NOTHING }, 1) >= 9);
    assert!(found(Change { leaving: 3.0, ..NOTHING }, 2) >= 7);
}

fn row<M: PurchaseModel + Parametric + Lives + Sync>(
    truth: &M,
    customers: u32,
    what: &str,
    change: Change,
    populations: u64,
) {
    let mut found = first_alarms(truth, customers, change, populations);
    let share = |hits: usize| 100.0 * hits as f64 / found.len() as f64;
    let of = |measure: usize| share(found.iter().filter(|first| first[measure].is_some()).count());
    let (fitted, shares) = (found.len(), [of(0), of(1), of(2)]);
    let any = share(found.iter().filter(|first| first.iter().any(Option::is_some)).count());
    found.sort_by_key(|first| first.iter().flatten().min().copied().unwrap_or(u32::MAX));
    let at = |part: usize| {
        let week = found[(found.len() * part / 100).min(found.len() - 1)].iter().flatten().min().copied();
        week.map_or_else(|| "later".to_owned(), |week| week.to_string())
    };
    println!(
        "| {} | {customers} | {what} | {fitted} | {any:.1} % | {} | {} | {:.1} | {:.1} | {:.1} |",
        std::any::type_name::<M>().rsplit("::").next().unwrap(),
        at(50),
        at(90),
        shares[0],
        shares[1],
        shares[2]
    );
}

fn table<M: PurchaseModel + Parametric + Lives + Sync>(truth: &M, (small, large): (u64, u64)) {
    row(truth, 2_000, "nothing", NOTHING, 10 * small);
    row(truth, 20_000, "nothing", NOTHING, 10 * large);
    let half_a_year = WEEKS * 7 / 2;
    for (what, change) in [
        ("a fifth fewer purchases", Change { rate: 0.8, ..NOTHING }),
        ("a fifth more purchases", Change { rate: 1.2, ..NOTHING }),
        ("customers leave twice as often", Change { leaving: 2.0, ..NOTHING }),
        ("a fifth less spent a purchase", Change { spend: 0.8, ..NOTHING }),
        ("a third fewer purchases", Change { rate: 2.0 / 3.0, ..NOTHING }),
        ("half the purchases", Change { rate: 0.5, ..NOTHING }),
        ("half the purchases, from week 27 on", Change { rate: 0.5, from_day: half_a_year, ..NOTHING }),
    ] {
        row(truth, 2_000, what, change, small);
        row(truth, 20_000, what, change, large);
    }
}

/// `cargo test -p kiki-models --test it -- --ignored --nocapture how_often`, some minutes.
#[test]
#[ignore = "takes minutes: it makes the table of docs/value.md"]
fn how_often_and_how_soon() {
    println!(
        "| model | customers | change | populations | alarm within 52 weeks | half found by week | nine tenths | purchases | spend | newcomers |"
    );
    table(&cdnow_bgnbd(), (100, 20));
    quiet(&MbgNbd::new(0.525, 6.183, 0.891, 1.614).unwrap());
    quiet(&ParetoNbd::new(0.553, 10.58, 0.606, 11.67).unwrap());
}

fn quiet<M: PurchaseModel + Parametric + Lives + Sync>(truth: &M) {
    row(truth, 2_000, "nothing", NOTHING, 400);
    row(truth, 20_000, "nothing", NOTHING, 100);
}
