//! Lists that are joined when the program is compiled, for the derives.

/// Returns the number of entries of all groups.
pub const fn count<T>(groups: &[&[T]]) -> usize {
    let (mut count, mut i) = (0, 0);
    while i < groups.len() {
        count += groups[i].len();
        i += 1;
    }
    count
}

/// Returns the entries of all groups, which are `N`. The array holds `filler` until it is complete.
pub const fn joined<T: Copy, const N: usize>(groups: &[&[T]], filler: T) -> [T; N] {
    let (mut all, mut next, mut i) = ([filler; N], 0, 0);
    while i < groups.len() {
        let mut j = 0;
        while j < groups[i].len() {
            all[next] = groups[i][j];
            next += 1;
            j += 1;
        }
        i += 1;
    }
    all
}
