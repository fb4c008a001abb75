//! Memberships stored as numbers, as a realm with a million users has millions of them.

/// The groups of each row, by number.
#[derive(Default)]
pub(super) struct Memberships {
    /// Start of each row's groups, followed by the end of the last row's.
    starts: Vec<u32>,
    groups: Vec<u32>,
}

impl Memberships {
    /// Returns the groups of a row, in the order in which they were added.
    pub fn of(&self, row: usize) -> &[u32] {
        match self.starts.get(row..=row + 1) {
            Some([from, to]) => &self.groups[*from as usize..*to as usize],
            _ => &[],
        }
    }

    /// Adds the members of these groups to this number of rows.
    ///
    /// # Panics
    /// If there are more than four billion memberships.
    pub fn add(&mut self, rows: usize, lists: Vec<(u32, Vec<u32>)>) {
        if lists.is_empty() {
            return;
        }
        let mut starts = vec![0_u32; rows + 1];
        for row in 0..rows {
            starts[row + 1] = u32::try_from(self.of(row).len()).expect("fewer groups than four billion");
        }
        for row in lists.iter().flat_map(|(_, members)| members) {
            starts[*row as usize + 1] += 1;
        }
        for row in 0..rows {
            starts[row + 1] = starts[row].checked_add(starts[row + 1]).expect("fewer memberships than four billion");
        }
        let mut next = starts.clone();
        let mut groups = vec![0; starts[rows] as usize];
        let mut add = |row: usize, group: u32| {
            groups[next[row] as usize] = group;
            next[row] += 1;
        };
        for row in 0..rows {
            for group in self.of(row) {
                add(row, *group);
            }
        }
        // Each list is freed once it is added.
        for (group, members) in lists {
            for row in members {
                add(row as usize, group);
            }
        }
        *self = Self { starts, groups };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_its_groups_in_the_order_of_their_coming() {
        let mut memberships = Memberships::default();
        assert_eq!(memberships.of(7), [] as [u32; 0]);
        memberships.add(3, vec![(4, vec![0, 2]), (5, vec![2])]);
        assert_eq!([0, 1, 2, 3].map(|row| memberships.of(row).to_vec()), [vec![4], vec![], vec![4, 5], vec![]]);
        memberships.add(4, vec![(1, vec![3, 0])]);
        memberships.add(4, Vec::new());
        assert_eq!([0, 1, 2, 3].map(|row| memberships.of(row).to_vec()), [vec![4, 1], vec![], vec![4, 5], vec![1]]);
    }
}
