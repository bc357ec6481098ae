use kiki_models::ltv::Summary;
use proptest::prelude::*;

use super::*;

const SAMPLE: &[u8] = include_bytes!("../../../../../examples/cdnow/CDNOW_sample.txt");

fn read(text: impl AsRef<[u8]>, options: &OrderOptions) -> Result<OrderLog, OrdersError> {
    OrderLog::read(text.as_ref(), options, &mut |_| ())
}

fn plain(text: impl AsRef<[u8]>) -> Result<OrderLog, OrdersError> {
    read(text, &OrderOptions::default())
}

fn error(text: impl AsRef<[u8]>) -> String {
    plain(text).unwrap_err().to_string()
}

fn day(text: &str) -> i32 {
    date::parse(text).unwrap()
}

#[test]
fn the_cdnow_sample_is_read_as_it_is() {
    let mut last = None;
    let log = OrderLog::read(SAMPLE, &OrderOptions::default(), &mut |progress| last = Some(progress)).unwrap();
    assert_eq!((log.customers(), log.orders()), (2_357, 6_919));
    assert_eq!(log.days(), Some((day("19970101"), day("19980630"))));
    assert_eq!(last, Some(Progress { lines: 6_919, bytes: SAMPLE.len() as u64 }));
    assert_eq!(log.sha256, "6fae10155c0b0ba363c2c386e30f77990d22328220efd862a5edd1443420d94a");
    let summaries = log.summaries(day("19970930"));
    let first = Summary { frequency: 2, recency_days: 213, age_days: 272, repeat_micros: 44_690_000 };
    assert_eq!((summaries.len(), &*summaries[0].0, summaries[0].1), (2_357, "0001", first));
    assert_eq!(summaries.iter().map(|(_, summary)| summary.frequency).sum::<u32>(), 2_457);
}

#[test]
fn the_master_layout_is_read_with_and_without_its_header() {
    let rows = " 00001 19970101  1   11.77\r\n 00002 19970112  1   12.00\r\n 00002 19970112  5   77.00\r\n";
    for header in ["", " customer_id  date number_of_cds  dollar_value\r\n", "\u{feff}", "\n\n"] {
        let log = plain(format!("{header}{rows}")).unwrap();
        assert_eq!((log.customers(), log.orders()), (2, 3), "{header:?}");
        let summaries = log.summaries(day("19970112"));
        assert_eq!((&*summaries[1].0, summaries[1].1.frequency), ("00002", 0));
    }
}

#[test]
fn csv_columns_are_inferred_from_names_in_use() {
    for (header, row) in [
        ("customer_id,date,amount", "a,1997-01-01,10.50"),
        ("Order ID,Created-At,Email,Total", "7,1997-01-01T08:00:00Z,a,10.50"),
        ("order_date;value;Customer", "19970101;10.50;a"),
        ("note\tuser\ttotal_price\ttimestamp", "\ta\t10.50\t1997-01-01"),
        ("\"customer\",\"order date\",\"amount\"", "\"a\",\"1997-01-01\",\"10.50\""),
    ] {
        let log = plain(format!("{header}\n{row}\n")).unwrap();
        assert_eq!(log.orders, [Order { customer: 0, day: day("19970101"), micros: 10_500_000 }], "{header}");
        assert_eq!(&*log.customers[0], "a");
    }
}

#[test]
fn csv_columns_are_those_that_are_named() {
    let text = "who,customer,at,date,paid,amount\nb,a,1997-01-02,1997-01-01,2,1\n";
    let options = OrderOptions {
        customer_column: Some("who".to_owned()),
        date_column: Some("at".to_owned()),
        amount_column: Some("paid".to_owned()),
        ..OrderOptions::default()
    };
    let log = read(text, &options).unwrap();
    assert_eq!(
        (&*log.customers[0], log.orders[0].purchase()),
        ("b", Purchase { day: day("19970102"), micros: 2_000_000 })
    );
    let missing = OrderOptions { amount_column: Some("sum".to_owned()), ..options };
    let error = read(text, &missing).unwrap_err().to_string();
    assert_eq!(
        error,
        "line 1: there is no column \"sum\" for the amount; there are: who, customer, at, date, paid, amount"
    );
}

#[test]
fn a_header_that_names_no_column_says_how_to_name_it() {
    let error = error("wer,wann,amount\na,b,c\n");
    assert!(error.starts_with("line 1: no column is named as a customer is (customer_id, "), "{error}");
    assert!(error.contains("--customer-column; no column is named as a date is"), "{error}");
}

#[test]
fn a_column_has_one_role() {
    let text = "customer,date,amount\na,1997-01-01,1\n";
    for (customer, date, amount, roles) in [
        (Some("date"), None, None, ("date", "customer", "date")),
        (None, None, Some("customer"), ("customer", "customer", "amount")),
        (None, Some("amount"), None, ("amount", "date", "amount")),
    ] {
        let own = |name: Option<&str>| name.map(str::to_owned);
        let options = OrderOptions {
            customer_column: own(customer),
            date_column: own(date),
            amount_column: own(amount),
            ..OrderOptions::default()
        };
        let (name, one, other) = roles;
        let start = format!("line 1: the column {name:?} is taken for the {one} and for the {other}; name them");
        let error = read(text, &options).unwrap_err().to_string();
        assert!(error.starts_with(&start), "{error}");
    }
}

#[test]
fn of_two_columns_with_one_name_the_caller_says_which() {
    let text = "customer,date,amount,Amount\na,1997-01-01,1,2\n";
    let wanted = "line 1: more than one column is named \"amount\"; name the one of the amount with --amount-column";
    assert_eq!(error(text), wanted);
    let named = OrderOptions { amount_column: Some("Amount".to_owned()), ..OrderOptions::default() };
    assert_eq!(read(text, &named).unwrap().orders[0].micros, 2_000_000);
}

#[test]
fn bad_rows_are_named_by_their_lines_and_refuse_the_file() {
    let text = "customer,date,amount\na,1997-01-01,10\na,1997-02-30,10\nb,1997-01-01,NaN\n,1997-01-01,1\n\
                b,1997-01-01\nc,1997-01-01,-1\nc,1997-01-01,1e400\nc,1997-01-01,\"1\nd,1997-01-02,5\n";
    let refused = plain(text).unwrap_err();
    let OrdersError::BadRows(bad) = &refused else { panic!("{refused}") };
    assert_eq!(bad.count, 6);
    let lines: Vec<(u64, &str)> = bad.first.iter().map(|row| (row.line, row.problem.as_str())).collect();
    assert_eq!(lines[0], (3, "date: \"1997-02-30\" is not a date such as 1997-09-30, 19970930 or an RFC 3339 time"));
    assert_eq!(lines[1], (4, "amount: \"NaN\" is not a decimal number such as 12.50"));
    assert_eq!(lines[2], (5, "customer: is missing"));
    assert_eq!(lines[3], (6, "has 2 columns instead of 3"));
    assert_eq!(lines[4].0, 8);
    assert_eq!(lines[5], (9, "has a quote that is not closed"));
    assert!(refused.to_string().contains("\n  line 5: customer: is missing\n"), "{refused}");

    let skipped = read(text, &OrderOptions { skip_bad_rows: true, ..OrderOptions::default() }).unwrap();
    assert_eq!((skipped.orders(), skipped.bad_rows.count), (2, 6));
    assert_eq!(skipped.refunds, Refunds { rows: 1, returned: 0, unmatched: 1 });
}

#[test]
fn only_the_first_bad_rows_are_reported_and_all_are_counted() {
    let text = format!("customer,date,amount\n{}", "a,b,c\n".repeat(1_000));
    let error = error(text);
    assert!(error.starts_with("rows of the order log that cannot be read: 1000\n  line 2: "), "{error}");
    assert!(error.ends_with("\n  and 980 more"), "{error}");
}

#[test]
fn what_is_no_order_log_is_refused() {
    assert_eq!(error(""), "the order log is empty");
    assert_eq!(error("\n \r\n"), "the order log is empty");
    assert_eq!(error("customer,date,amount\n\n"), "the order log has no orders");
    assert!(error("hello world\n").starts_with("line 1: is neither"));
    assert!(error([0xff, 0xfe, b'a']).starts_with("line 1: is not UTF-8"));
    let endless = [b"customer,date,amount\n".to_vec(), vec![b'a'; 2 * LINE_BYTES_MAX]].concat();
    assert!(error(endless).starts_with("line 2: is longer than 65536 bytes"));
}

#[test]
fn who_bought_after_the_period_only_is_not_in_it() {
    let text = "customer,date,amount\nb,1997-01-05,3\na,1997-01-01,1\nb,1997-01-01,2\nc,1997-02-01,9\n";
    let summaries = plain(text).unwrap().summaries(day("1997-01-31"));
    let ids: Vec<&str> = summaries.iter().map(|(id, _)| &**id).collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(summaries[1].1, Summary { frequency: 1, recency_days: 4, age_days: 30, repeat_micros: 3_000_000 });
}

#[test]
fn a_field_may_hold_line_breaks_and_a_stray_quote_opens_none() {
    let text = "customer,note,date,amount\na,\"left\nat, the \"\"door\"\"\r\n\",1997-01-01,1\nb,5\" disk,1997-01-02,2\n\
                c,\"open,1997-01-03,3\nd,,1997-01-04,4\n";
    let refused = plain(text).unwrap_err().to_string();
    assert!(refused.ends_with("1\n  line 6: has a quote that is not closed"), "{refused}");
    let log = read(text, &OrderOptions { skip_bad_rows: true, ..OrderOptions::default() }).unwrap();
    let ids: Vec<&str> = log.customers.iter().map(|id| &**id).collect();
    assert_eq!(ids, ["a", "b", "d"]);
}

/// Each line would be looked at as often as a row may have lines, were there no bound but that on bytes.
#[test]
fn a_row_goes_on_for_a_hundred_lines_and_no_further() {
    for (breaks, is_row) in [(100, true), (101, false)] {
        let note = "\n".repeat(breaks);
        let text = format!("customer,date,amount,note\n1,1997-01-01,5,\"{note}\"\n");
        assert_eq!(plain(text).is_ok(), is_row, "{breaks}");
    }
}

#[test]
fn json_lines_are_read_with_amounts_as_they_are_written() {
    let text = r#"{"customer":"a","date":"1997-01-01","amount":0.1,"more":{"x":[1]}}
{"customer":7,"date":"1997-01-02T08:00:00Z","amount":"12.34","refunded_amount":2}

{"customer":"q\"é","date":"1997-01-03","amount":9007199254.123456}
{"customer":"q\"é","date":"1997-01-03"}
{"customer":"b","date":"1997-01-03","amount":true}
[1]
"#;
    let refused = plain(text).unwrap_err();
    let OrdersError::BadRows(bad) = &refused else { panic!("{refused}") };
    let lines: Vec<(u64, &str)> = bad.first.iter().map(|row| (row.line, row.problem.as_str())).collect();
    assert_eq!(lines[0], (5, "amount: \"\" is not a decimal number such as 12.50"));
    assert_eq!(lines[1], (6, "amount: must be a string or a number"));
    assert_eq!((lines[2].0, lines.len()), (7, 3));
    let log = read(text, &OrderOptions { skip_bad_rows: true, ..OrderOptions::default() }).unwrap();
    let micros: Vec<i64> = log.orders.iter().map(|order| order.micros).collect();
    assert_eq!(micros, [100_000, 12_340_000, 9_007_199_254_123_456]);
    let ids: Vec<&str> = log.customers.iter().map(|id| &**id).collect();
    assert_eq!(ids, ["a", "7", "q\"é"]);
}

#[test]
fn json_keys_are_those_that_are_named_and_a_refund_comes_off() {
    let text = "{\"who\":\"a\",\"at\":\"1997-01-01\",\"paid\":10,\"back\":\"2.5\"}\n\
                {\"who\":\"a\",\"at\":\"1997-01-02\",\"paid\":10,\"back\":null}\n\
                {\"who\":\"a\",\"at\":\"1997-01-03\",\"paid\":10,\"back\":10}\n";
    let own = |name: &str| Some(name.to_owned());
    let options = OrderOptions {
        customer_column: own("who"),
        date_column: own("at"),
        amount_column: own("paid"),
        refund_column: own("back"),
        ..OrderOptions::default()
    };
    let log = read(text, &options).unwrap();
    let micros: Vec<i64> = log.orders.iter().map(|order| order.micros).collect();
    assert_eq!(micros, [7_500_000, 10_000_000]);
    assert_eq!(log.refunds, Refunds { rows: 1, returned: 1, unmatched: 0 });
}

const SHOPIFY: &str = "Name,Email,Financial Status,Paid at,Currency,Total,Created at,Lineitem quantity,Notes,Refunded Amount\n\
    #1005,ann@example.com,paid,2024-02-05 10:00:00 -0500,USD,20.00,2024-02-05 22:30:00 -0500,1,\"two\nlines\",0.00\n\
    #1005,ann@example.com,,,,,2024-02-05 22:30:00 -0500,2,,\n\
    #1004,ann@example.com,partially_refunded,,USD,30.00,2024-02-01 10:00:00 -0500,1,,12.50\n\
    #1003,bob@example.com,refunded,,USD,15.00,2024-01-20 10:00:00 -0500,1,,15.00\n\
    #1002,bob@example.com,voided,,USD,15.00,2024-01-19 10:00:00 -0500,1,,0.00\n\
    #1001,bob@example.com,pending,,USD,5.00,2024-01-18 10:00:00 -0500,1,,0.00\n";

#[test]
fn shopifys_export_is_known_by_its_columns() {
    for format in [None, Some(Format::Shopify)] {
        let log = read(SHOPIFY, &OrderOptions { format, ..OrderOptions::default() }).unwrap();
        let orders: Vec<(&str, i32, i64)> = log
            .orders
            .iter()
            .map(|order| (&*log.customers[order.customer as usize], order.day, order.micros))
            .collect();
        let expected = [
            ("ann@example.com", day("2024-02-01"), 17_500_000),
            ("ann@example.com", day("2024-02-06"), 20_000_000),
            ("bob@example.com", day("2024-01-18"), 5_000_000),
        ];
        assert_eq!(orders, expected);
        assert_eq!(log.refunds, Refunds { rows: 1, returned: 2, unmatched: 0 });
    }
}

#[test]
fn an_order_without_a_customer_or_in_another_currency_is_a_bad_row() {
    let text = SHOPIFY.replace("#1004,ann@example.com", "#1004,").replace("refunded,,USD,15", "refunded,,EUR,15");
    let usd = OrderOptions { currency: Some(Currency::USD), ..OrderOptions::default() };
    let refused = read(&text, &usd).unwrap_err().to_string();
    let wanted = "2\n  line 5: customer: is missing\n  line 6: Currency: \"EUR\" is not USD, the currency of this log";
    assert!(refused.ends_with(wanted), "{refused}");
    let missing = read(SHOPIFY.replace("Total", "Sum"), &OrderOptions::default()).unwrap_err().to_string();
    assert_eq!(missing, "line 1: Shopify's export has a column \"Total\"");
}

#[test]
fn a_refund_in_a_row_of_its_own_counts_from_its_day_on() {
    let text = "customer,date,amount\na,1997-01-01,10\na,1997-01-05,20\na,1997-01-09,-20\n";
    let log = plain(text).unwrap();
    assert_eq!((log.orders(), log.refunds), (2, Refunds { rows: 1, returned: 1, unmatched: 0 }));
    let at = |date: &str| log.summaries(day(date))[0].1;
    assert_eq!((at("1997-01-08").frequency, at("1997-01-09").frequency), (1, 0));
    assert_eq!(log.days(), Some((day("1997-01-01"), day("1997-01-05"))));
}

const FORMATS: [Option<Format>; 5] =
    [None, Some(Format::Csv), Some(Format::JsonLines), Some(Format::Cdnow), Some(Format::Shopify)];

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), format in prop::sample::select(&FORMATS)) {
        let _ = read(&bytes, &OrderOptions { format, skip_bad_rows: true, ..Default::default() });
    }

    #[test]
    fn no_damage_to_a_good_file_makes_it_panic(
        file in prop::sample::select(&[SHOPIFY, "customer,date,amount\na,1997-01-01,\"1\"\n", "{\"customer\":\"a\",\"date\":\"1997-01-01\",\"amount\":1}\n"]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&b"\"\n\r,;{}[]: -0e\xff\0"[..])), 1..8),
    ) {
        let mut bytes = file.repeat(2).into_bytes();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(log) = read(&bytes, &OrderOptions { skip_bad_rows: true, ..Default::default() }) {
            for (_, summary) in log.summaries(day("2030-01-01")) {
                prop_assert!(summary.history().is_ok());
            }
        }
    }

    #[test]
    fn no_row_makes_it_panic(rows in "[a-z0-9,;\"\n .\t-]{0,200}") {
        let _ = read(format!("customer,date,amount\n{rows}"), &OrderOptions { skip_bad_rows: true, ..Default::default() });
    }

    #[test]
    fn the_order_of_rows_does_not_matter(rows in prop::collection::vec((0..5_u8, 1..28_u8, 0..9_u8), 1..40), seed in any::<u64>()) {
        let line = |(customer, day, amount): &(u8, u8, u8)| format!("c{customer},1997-01-{day:02},{amount}.5\n");
        let mut shuffled = rows.clone();
        shuffled.sort_by_key(|&(customer, day, amount)| seed.wrapping_mul(u64::from(customer) * 131 + u64::from(day) * 7 + u64::from(amount) + 1));
        let text = |rows: &[(u8, u8, u8)]| format!("customer,date,amount\n{}", rows.iter().map(line).collect::<String>());
        let until = day("1997-01-20");
        prop_assert_eq!(plain(text(&rows)).unwrap().summaries(until), plain(text(&shuffled)).unwrap().summaries(until));
    }
}
