//! Places at which a process may end. In tests it does, at the one that was told.

use super::error::KeysError;

/// The places that are left before the end.
#[derive(Default)]
pub(super) struct Faults {
    #[cfg(test)]
    left: std::sync::Mutex<Option<u32>>,
}

impl Faults {
    /// Goes on.
    #[cfg(not(test))]
    pub(super) const fn pass(&self) -> Result<(), KeysError> {
        Ok(())
    }

    /// Goes on, unless this is the place.
    #[cfg(test)]
    pub(super) fn pass(&self) -> Result<(), KeysError> {
        let mut left = self.left.lock().unwrap();
        match left.as_mut() {
            Some(0) => Err(KeysError::NotNow("the process ended here")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Ends at the place after `places` others, and at each from then on.
    #[cfg(test)]
    pub(super) fn end_after(&self, places: u32) {
        *self.left.lock().unwrap() = Some(places);
    }
}
