//! Reserves money, runs work that costs something, settles.
//!
//! Start a service with `kiki serve shield`, then: `cargo run -p kiki-client --example reserve_run_settle`.
#![expect(clippy::print_stdout, reason = "an example for the terminal")]

use std::time::Duration;

use kiki_client::{Client, Currency, Error, Figure, Limit, Money, NewBudget, OpenHold, Request, Settled, SpendError};

/// Stands for work with a price that is known only afterwards, such as a call of a language model.
async fn answer(hold: OpenHold) -> Result<Settled<String>, std::io::Error> {
    let mut text = String::new();
    let mut cost = Money::new(0, Currency::USD);
    for part in ["Reserved", " before", " it", " moved."] {
        tokio::time::sleep(Duration::from_millis(50)).await;
        text.push_str(part);
        cost.micros += 50_000;
        // From here on a panic, a cancelled task or a time-out pays for the parts that came.
        hold.spent_so_far(cost);
    }
    Ok(Settled::amount(cost, text))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kiki = Client::new("http://127.0.0.1:8081")?;
    let a_dollar = Limit::Total { amount: "1.00".parse()? };
    kiki.put_budget("example", &NewBudget::new("example", a_dollar)).await?;

    let at_most = Money::parse("0.50", Currency::USD)?;
    let request = Request::new("example/agent", at_most).ttl(Duration::from_secs(30));
    match kiki.spend(request).time_limit(Duration::from_secs(10)).run(answer).await {
        Ok(spent) => println!("{}", spent.value),
        Err(SpendError::Refused(Error::Denied(denial))) => println!("refused by {}", denial.refused_by.join(", ")),
        Err(error) => return Err(error.into()),
    }
    let budget = kiki.budget("example").await?;
    println!("used {}, held {}", shown(budget.used), shown(budget.held));
    kiki.close().await?;
    Ok(())
}

fn shown(figure: Option<Figure>) -> String {
    figure.map_or_else(|| "nothing".to_owned(), |figure| figure.to_string())
}
