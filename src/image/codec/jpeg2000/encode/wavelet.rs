//! The reversible wavelet transformation 5-3 (ISO/IEC 15444-1 Annex F.4), of planes that begin at an even place.

/// Transforms a plane of rows of `width`, `levels` times; each time what is low in both directions moves to the upper left.
pub(super) fn forward(plane: &mut [i32], width: usize, levels: u32) {
    let height = plane.len() / width;
    for level in 0..levels {
        let (across, down) = (width.div_ceil(1 << level), height.div_ceil(1 << level));
        vertically(plane, width, across, down);
        let mut row = vec![0; across];
        for line in plane.chunks_exact_mut(width).take(down) {
            horizontally(&mut line[..across], &mut row);
        }
    }
}

/// One row: low samples first, then the high ones. `row` has as many places.
fn horizontally(line: &mut [i32], row: &mut [i32]) {
    let (length, half) = (line.len(), line.len().div_ceil(2));
    if length < 2 {
        return;
    }
    let (low, high) = row.split_at_mut(half);
    for (n, high) in high.iter_mut().enumerate() {
        // Behind the end stands the image of what is before it.
        let after = line[if 2 * n + 2 < length { 2 * n + 2 } else { 2 * n }];
        *high = line[2 * n + 1] - ((line[2 * n] + after) >> 1);
    }
    for (n, low) in low.iter_mut().enumerate() {
        let (before, after) = (high[n.saturating_sub(1)], high[n.min(high.len() - 1)]);
        *low = line[2 * n] + ((before + after + 2) >> 2);
    }
    line.copy_from_slice(row);
}

/// Every column of the upper left at once, row by row.
fn vertically(plane: &mut [i32], width: usize, across: usize, down: usize) {
    let half = down.div_ceil(2);
    if down < 2 {
        return;
    }
    let high_rows = down - half;
    let mut high = vec![0; high_rows * across];
    let row = |n: usize| n * width..n * width + across;
    for (n, to) in high.chunks_exact_mut(across).enumerate() {
        let after = if 2 * n + 2 < down { 2 * n + 2 } else { 2 * n };
        let around = plane[row(2 * n)].iter().zip(&plane[row(after)]);
        for ((to, own), (before, after)) in to.iter_mut().zip(&plane[row(2 * n + 1)]).zip(around) {
            *to = own - ((before + after) >> 1);
        }
    }
    for n in 0..half {
        // Rows before it have been read.
        plane.copy_within(row(2 * n), n * width);
        let high_row = |n: usize| &high[n * across..(n + 1) * across];
        let around = high_row(n.saturating_sub(1)).iter().zip(high_row(n.min(high_rows - 1)));
        for (to, (before, after)) in plane[row(n)].iter_mut().zip(around) {
            *to += (before + after + 2) >> 2;
        }
    }
    for (n, from) in high.chunks_exact(across).enumerate() {
        plane[row(half + n)].copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_low_and_what_changes_is_high() {
        let mut slope: Vec<i32> = (0..8).map(|n| 2 * n).collect();
        forward(&mut slope, 8, 0);
        assert_eq!(slope, [0, 2, 4, 6, 8, 10, 12, 14]);
        horizontally(&mut slope, &mut [0; 8]);
        assert_eq!(slope, [0, 4, 8, 13, 0, 0, 0, 2]);
        // The same down a column as along a row.
        let mut column: Vec<i32> = (0..7).map(|n| n * n * 5 - 40).collect();
        let mut line = column.clone();
        vertically(&mut column, 1, 1, 7);
        horizontally(&mut line, &mut [0; 7]);
        assert_eq!(column, line);
    }
}
