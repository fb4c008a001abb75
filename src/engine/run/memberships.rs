//! Memberships stored as bytes, as a realm with a million users has millions of them.

use crate::model::packed::{number, take, write};

/// The groups of each row, by number.
#[derive(Default)]
pub(super) struct Memberships {
    /// Start of each row's groups, followed by the end of the last row's.
    starts: Vec<u32>,
    /// The numbers of the groups, one to five bytes each.
    groups: Vec<u8>,
}

/// The rows of a group's members, each once and in ascending order. Each is kept as its difference from the previous
/// one, which mostly takes one or two bytes.
#[derive(Default)]
pub(super) struct Rows(Vec<u8>);

impl Memberships {
    /// Returns the groups of a row, in the order in which they were added.
    pub fn of(&self, row: usize) -> impl Iterator<Item = u32> + '_ {
        Numbers(self.bytes_of(row))
    }

    fn bytes_of(&self, row: usize) -> &[u8] {
        match self.starts.get(row..=row + 1) {
            Some([from, to]) => &self.groups[*from as usize..*to as usize],
            _ => &[],
        }
    }

    /// Adds the members of these groups to this number of rows.
    ///
    /// # Panics
    /// If the memberships take more than four billion bytes.
    pub fn add(&mut self, rows: usize, lists: Vec<(u32, Rows)>) {
        if lists.is_empty() {
            return;
        }
        let mut encoded = Vec::with_capacity(5);
        // First the length of each row, then its end, and, as each row is filled from its end, its start.
        let mut starts: Vec<u32> = (0..rows).map(|row| number(self.bytes_of(row).len())).collect();
        for (group, members) in &lists {
            encode(*group, &mut encoded);
            for row in members.iter() {
                starts[row as usize] += number(encoded.len());
            }
        }
        let mut end = 0_u32;
        for start in &mut starts {
            end = end.checked_add(*start).expect("memberships take fewer than four billion bytes");
            *start = end;
        }
        starts.push(end);
        let mut groups = vec![0; end as usize];
        let mut put_before = |start: &mut u32, bytes: &[u8]| {
            let to = *start as usize;
            groups[to - bytes.len()..to].copy_from_slice(bytes);
            *start -= number(bytes.len());
        };
        // Each list is freed once it is added.
        for (group, members) in lists.into_iter().rev() {
            encode(group, &mut encoded);
            for row in members.iter() {
                put_before(&mut starts[row as usize], &encoded);
            }
        }
        for (row, start) in starts[..rows].iter_mut().enumerate() {
            put_before(start, self.bytes_of(row));
        }
        *self = Self { starts, groups };
    }
}

impl Rows {
    /// Returns the rows in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        Numbers(&self.0).scan(0, |row, step| {
            *row += step;
            Some(*row)
        })
    }
}

impl From<Vec<u32>> for Rows {
    fn from(mut rows: Vec<u32>) -> Self {
        rows.sort_unstable();
        rows.dedup();
        let (mut bytes, mut last) = (Vec::with_capacity(2 * rows.len()), 0);
        for row in rows {
            write(&(row - last), &mut bytes);
            last = row;
        }
        bytes.shrink_to_fit();
        Self(bytes)
    }
}

fn encode(number: u32, out: &mut Vec<u8>) {
    out.clear();
    write(&number, out);
}

/// Numbers that were written one after the other.
struct Numbers<'a>(&'a [u8]);

impl Iterator for Numbers<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        (!self.0.is_empty()).then(|| take(&mut self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(memberships: &mut Memberships, rows: usize, lists: &[(u32, &[u32])]) {
        memberships.add(rows, lists.iter().map(|(group, members)| (*group, Rows::from(members.to_vec()))).collect());
    }

    fn all<const ROWS: usize>(memberships: &Memberships) -> [Vec<u32>; ROWS] {
        std::array::from_fn(|row| memberships.of(row).collect())
    }

    #[test]
    fn each_row_has_its_groups_in_the_order_in_which_they_were_added() {
        let mut memberships = Memberships::default();
        assert_eq!(memberships.of(7).count(), 0);
        add(&mut memberships, 3, &[(400, &[0, 2]), (5, &[2])]);
        assert_eq!(all(&memberships), [vec![400], vec![], vec![400, 5], vec![]]);
        add(&mut memberships, 4, &[(70_000, &[3, 0])]);
        add(&mut memberships, 4, &[]);
        assert_eq!(all(&memberships), [vec![400, 70_000], vec![], vec![400, 5], vec![70_000]]);
    }

    #[test]
    fn rows_are_in_order_and_each_once() {
        assert_eq!(Rows::from(vec![9, 0, 300, 9, u32::MAX]).iter().collect::<Vec<_>>(), [0, 9, 300, u32::MAX]);
        assert_eq!(Rows::default().iter().count(), 0);
    }
}
