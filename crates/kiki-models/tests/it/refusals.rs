//! Data that do not determine a model are refused with what is missing, whatever the model.

use kiki_models::ltv::{
    BgBb, BgNbd, FitError, GammaGamma, History, MbgNbd, Opportunities, ParetoNbd, PurchaseModel, Spend,
};

fn history(x: f64, recency: f64, age: f64) -> History {
    History::new(x, recency, age).unwrap()
}

/// What is wrong with data from which nobody can tell, as `fit` puts it.
fn refused<M: PurchaseModel + std::fmt::Debug>(histories: &[History]) -> FitError {
    M::fit(histories).expect_err("the data determine nothing")
}

fn assert_refuses<M: PurchaseModel + std::fmt::Debug>() {
    assert_eq!(refused::<M>(&[]), FitError::TooFewCustomers { customers: 0, least: 5 });
    let one = history(3.0, 20.0, 30.0);
    assert_eq!(refused::<M>(&[one]), FitError::TooFewCustomers { customers: 1, least: 5 });
    assert_eq!(refused::<M>(&[history(0.0, 0.0, 30.0); 400]), FitError::NoRepeats);
    let ages = || (1..=400).map(|week| f64::from(week) / 10.0);
    let undetermined: [(&str, Vec<History>); 6] = [
        ("all alike", vec![one; 400]),
        ("all bought as often, and just now", ages().map(|age| history(2.0, age, age)).collect()),
        ("all bought as often", ages().map(|age| history(2.0, age / 2.0, age)).collect()),
        ("nobody has left", ages().map(|age| history(age.ceil(), age, age)).collect()),
        ("all repeats at the first moment", ages().map(|age| history(1.0, 0.0, age)).collect()),
        ("no time has passed", (0..400).map(|x| history(f64::from(x % 7), 0.0, 0.0)).collect()),
    ];
    for (what, histories) in undetermined {
        let error = refused::<M>(&histories);
        assert!(matches!(error, FitError::Undetermined { .. }), "{}, {what}: {error:?}", std::any::type_name::<M>());
        assert!(error.to_string().contains("do not determine the parameter"), "{error}");
    }
}

#[test]
fn models_of_purchases_refuse_what_does_not_determine_them() {
    assert_refuses::<BgNbd>();
    assert_refuses::<MbgNbd>();
    assert_refuses::<ParetoNbd>();
}

#[test]
fn gamma_gamma_refuses_what_does_not_determine_it() {
    let spend = |x: f64, monetary: f64| Spend::new(&history(x, 1.0, 2.0), monetary).unwrap();
    assert_eq!(GammaGamma::fit(&[]).unwrap_err(), FitError::NoRepeats);
    let few = GammaGamma::fit(&[spend(1.0, 5.0), spend(2.0, 6.0)]).unwrap_err();
    assert_eq!(few, FitError::TooFewCustomers { customers: 2, least: 4 });
    let undetermined: [(&str, Vec<Spend>); 3] = [
        ("all spend the same", vec![spend(2.0, 9.99); 300]),
        ("all spend the same however often", (1..300).map(|x| spend(f64::from(x % 9 + 1), 9.99)).collect()),
        // One purchase each does not tell a customer's spread from the customers'.
        ("nearly the same", (1..300).map(|x| spend(1.0, 9.99 + f64::from(x % 2) * 1e-9)).collect()),
    ];
    for (what, spends) in undetermined {
        let error = GammaGamma::fit(&spends).unwrap_err();
        assert!(matches!(error, FitError::Undetermined { .. }), "{what}: {error:?}");
    }
}

#[test]
fn bgbb_refuses_what_does_not_determine_it() {
    let donor = |x, last, n| Opportunities::new(x, last, n).unwrap();
    assert_eq!(BgBb::fit(&[donor(1, 1, 6)]).unwrap_err(), FitError::TooFewCustomers { customers: 1, least: 5 });
    assert_eq!(BgBb::fit(&[donor(0, 0, 6); 50]).unwrap_err(), FitError::NoRepeats);
    let undetermined: [(&str, Vec<Opportunities>); 4] = [
        ("all alike", vec![donor(2, 4, 6); 300]),
        ("one opportunity", (0..300).map(|i| donor(i % 2, i % 2, 1)).collect()),
        ("all bought always", (1..300).map(|i| donor(i % 6 + 1, i % 6 + 1, i % 6 + 1)).collect()),
        ("nobody has left", (1..300).map(|i| donor(i % 6 + 1, 6, 6)).collect()),
    ];
    for (what, donors) in undetermined {
        let error = BgBb::fit(&donors).unwrap_err();
        assert!(matches!(error, FitError::Undetermined { .. }), "{what}: {error:?}");
    }
}
