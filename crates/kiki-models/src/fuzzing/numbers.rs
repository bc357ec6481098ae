//! Bytes as numbers: such as a model meets, such as it refuses, and those at the edges of both.

/// The rest of the bytes. After the last come zeros.
pub(super) struct Numbers<'a>(&'a [u8]);

/// Where something changes: bounds, poles of formulas, and what floating point has at its ends.
const EDGES: [f64; 24] = [
    0.0,
    -0.0,
    1e-6,
    1e6,
    1.0,
    1.0 + f64::EPSILON,
    1.0 - f64::EPSILON,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::MAX,
    f64::MIN_POSITIVE,
    5e-324,
    1e-300,
    -1.0,
    0.5,
    2.0,
    39.0,
    5_200.0,
    999_999.0,
    1e6 + 1e-9,
    1e-6 - 1e-22,
    1e15,
    1e-15,
];

impl<'a> Numbers<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let [byte] = self.bytes();
        byte
    }

    /// Any number, none excluded: mostly such as models are made of.
    pub(super) fn number(&mut self) -> f64 {
        match self.byte() % 8 {
            0 => f64::from_le_bytes(self.bytes()),
            1 => EDGES[usize::from(self.byte()) % EDGES.len()],
            2 => f64::from(self.byte()),
            3 => f64::from(u32::from_le_bytes(self.bytes())),
            4 => f64::from(u16::from_le_bytes(self.bytes())) / 65_535.0,
            5 => f64::from(u16::from_le_bytes(self.bytes())) / 7.0,
            // As likely in each decade from 1e-6 to 1e6.
            _ => 10_f64.powf(f64::from(u16::from_le_bytes(self.bytes())) / 65_535.0 * 12.0 - 6.0),
        }
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_at(self.0.len().min(N));
        self.0 = rest;
        let mut bytes = [0; N];
        bytes[..taken.len()].copy_from_slice(taken);
        bytes
    }
}
