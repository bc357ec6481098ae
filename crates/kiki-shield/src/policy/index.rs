//! Which rules can apply to a request, by their scope: the kind of actor, the action, and a name of actor or target.

use std::collections::HashMap;

use super::request::{ACTORS, Action, PolicyRequest};
use super::rule::Rule;

/// A cell for each kind of actor and each action.
#[derive(Debug, Default)]
pub(crate) struct Index {
    cells: [[Cell; Action::ALL.len()]; ACTORS.len()],
}

/// The rules for one kind of actor and one action, by position. Each rule is in one of the lists.
#[derive(Debug, Default)]
struct Cell {
    of_target: HashMap<Box<str>, Vec<u32>>,
    of_actor: HashMap<Box<str>, Vec<u32>>,
    of_all: Vec<u32>,
}

impl Index {
    /// `rules` are fewer than [`super::RULES_MAX`].
    pub(crate) fn of(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (rule, position) in rules.iter().zip(0_u32..) {
            for actor in ACTORS {
                for action in Action::ALL.into_iter().filter(|action| rule.scope.admits(actor, *action)) {
                    index.cells[actor as usize][action as usize].add(rule, position);
                }
            }
        }
        index
    }

    /// The positions of all rules that can apply, in no particular order.
    pub(crate) fn candidates(&self, request: &PolicyRequest<'_>) -> impl Iterator<Item = u32> {
        let cell = &self.cells[request.actor as usize][request.action as usize];
        let of_target = cell.of_target.get(request.target).into_iter().flatten();
        let of_actor = cell.of_actor.get(request.actor_name).into_iter().flatten();
        of_target.chain(of_actor).chain(&cell.of_all).copied()
    }
}

impl Cell {
    fn add(&mut self, rule: &Rule, position: u32) {
        let list = match (&rule.scope.target, &rule.scope.actor_name) {
            (Some(target), _) => self.of_target.entry(target.clone()).or_default(),
            (None, Some(actor)) => self.of_actor.entry(actor.clone()).or_default(),
            (None, None) => &mut self.of_all,
        };
        list.push(position);
    }
}
