//! Prints the faults that can be turned on, one a line: name, what goes wrong, where it was seen, with tabs between.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

fn main() {
    for fault in kiki_spend::fault::Fault::ALL {
        println!("{}\t{}\t{}", fault.name, fault.what, fault.seen);
    }
}
