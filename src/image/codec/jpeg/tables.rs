//! What the scans of all processes with Huffman codes have in common: tables and restarts.

use super::huffman::Table;
use crate::image::codec::Refusal;

/// The Huffman tables of a class that are defined at a time.
#[derive(Default)]
pub(super) struct Tables([Option<Table>; 4]);

impl Tables {
    /// The table of this name.
    pub(super) fn get(&self, name: u8) -> Result<&Table, Refusal> {
        let table = self.0.get(usize::from(name)).and_then(Option::as_ref);
        table.ok_or(Refusal::damaged("a Huffman table that was not defined"))
    }
}

/// Reads a DHT segment: tables for DC and lossless coding, and those for AC (B.2.4.2).
pub(super) fn read(mut parameters: &[u8], dc: &mut Tables, ac: &mut Tables) -> Result<(), Refusal> {
    while !parameters.is_empty() {
        let (place, table, rest) = Table::read(parameters)?;
        let class = match place >> 4 {
            0 => &mut *dc,
            1 => &mut *ac,
            _ => return Err(Refusal::damaged("a Huffman table of no class")),
        };
        *class.0.get_mut(usize::from(place & 15)).ok_or(Refusal::damaged("a Huffman table's place"))? =
            Some(table);
        parameters = rest;
    }
    Ok(())
}

/// Reads a DRI segment: in minimum coded units, 0 for none (B.2.4.4).
pub(super) fn restart_interval(parameters: &[u8]) -> Result<usize, Refusal> {
    let interval = parameters.first_chunk().ok_or(Refusal::damaged("a restart interval"))?;
    Ok(u16::from_be_bytes(*interval).into())
}

/// The length of the restart marker that is due. Its number is not looked at.
pub(in crate::image::codec) fn restart(data: &[u8]) -> Result<usize, Refusal> {
    match data {
        [0xFF, 0xD0..=0xD7, ..] => Ok(2),
        _ => Err(Refusal::damaged("no restart where one is due")),
    }
}
