//! The headers of a JPEG 2000 codestream, held against the data set and against bounds before a decoder allocates by
//! them (ISO/IEC 15444-1 Annex A and B).

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::image::codec::Refusal;
use crate::image::pixels::Shape;

const SOC: u16 = 0xFF4F;
const SIZ: u16 = 0xFF51;
const COD: u16 = 0xFF52;
const COC: u16 = 0xFF53;
const SOT: u16 = 0xFF90;
const SOD: u16 = 0xFF93;
const EOC: u16 = 0xFFD9;

/// Fewest bytes of a tile: SOT with its parameters, and SOD.
const LEAST_TILE: u64 = 14;
/// Most code-blocks times layers for each sample, as decoders keep something for each. The smallest code-blocks have 16
/// samples; nobody writes them with more layers than that.
const BLOCKS_AND_LAYERS: u64 = 1;
/// As many are always allowed, for small images.
const FEW_BLOCKS: u64 = 1 << 20;
/// Most samples of a frame: decoders hold each in 4 bytes, several times, and a few bytes can be a codestream of nothing
/// but grey. Twice what the largest detectors have.
pub(super) const SAMPLES: u64 = 1 << 26;

/// What the headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Bits of a sample, the same in each component.
    pub(super) precision: u32,
    /// Samples are in two's complement.
    pub(super) signed: bool,
    /// Code-blocks are of High Throughput (ISO/IEC 15444-15).
    pub(super) high_throughput: bool,
    /// The wavelet transformation is the one of integers.
    pub(super) reversible: bool,
    /// The components were red, green and blue, and were transformed.
    pub(super) transformed: bool,
    /// Behind the last tile-part.
    pub(super) end: usize,
    /// Whether there is an End Of Codestream.
    pub(super) ended: bool,
    /// Where tile-parts tell a number of parts that their tile does not have, and how many it has.
    pub(super) wrong_counts: Vec<(usize, u8)>,
}

/// Where the codestream lies: in the boxes of JP2, which have no place in DICOM, but are met, or by itself.
pub(super) fn codestream(data: &[u8]) -> Result<&[u8], Refusal> {
    if word(data, 0)? == SOC {
        return Ok(data);
    }
    let mut at = 0_usize;
    loop {
        let bad = || Refusal::damaged("neither a codestream nor boxes of JP2");
        let head = data.get(at..).and_then(|rest| rest.first_chunk::<8>()).ok_or_else(bad)?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        if &head[4..] == b"jp2c" {
            return data.get(at + if length == 1 { 16 } else { 8 }..).ok_or_else(bad);
        }
        if length < 8 {
            return Err(bad());
        }
        at = at.checked_add(length as usize).ok_or_else(bad)?;
    }
}

/// Reads the headers of a codestream and of its tile-parts.
pub(super) fn read(data: &[u8], shape: &Shape) -> Result<Header, Refusal> {
    let mut at = 2;
    if word(data, 0)? != SOC || word(data, at)? != SIZ {
        return Err(Refusal::damaged("it does not begin with its size"));
    }
    let image = Image::read(segment(data, &mut at)?, shape)?;
    let mut style: Option<Style> = None;
    let mut others = Vec::new();
    loop {
        match word(data, at)? {
            SOT => break,
            COD => style = Some(Style::read(segment(data, &mut at)?)?),
            COC => {
                let parameters = segment(data, &mut at)?;
                others.push(parameters.get(1..).ok_or(Refusal::damaged("a COC of too few bytes"))?);
            }
            0xFF30..=0xFF3F => at += 2,
            0xFF40.. => {
                segment(data, &mut at)?;
            }
            _ => return Err(Refusal::damaged("no marker where one should be")),
        }
    }
    let style = style.ok_or(Refusal::damaged("no coding style"))?;
    let mut styles = vec![style; usize::from(shape.samples)];
    for (place, parameters) in others.into_iter().enumerate() {
        // Which component it is of does not matter for what it takes.
        let component =
            styles.get_mut(place).ok_or(Refusal::damaged("more coding styles than components"))?;
        *component = style.of_component(parameters)?;
    }
    let tiles = image.tiles()?;
    if tiles as u64 * LEAST_TILE > data.len() as u64 {
        return Err(Refusal::damaged(format!("{tiles} tiles in {} bytes", data.len())));
    }
    let parts = TileParts::read(data, at, tiles, style)?;
    image.bound(&styles, &parts.styles, data.len() as u64)?;
    if parts.styles.values().flatten().any(|of_tile| of_tile.transformed != style.transformed) {
        return Err(Refusal::unsupported("JPEG 2000 with tiles of which some are transformed, some not"));
    }
    let mut every = styles.iter().chain(parts.styles.values().flatten());
    Ok(Header {
        precision: image.precision,
        signed: image.signed,
        high_throughput: every.clone().any(|style| style.high_throughput),
        reversible: every.all(|style| style.reversible),
        transformed: style.transformed,
        end: parts.end,
        ended: word(data, parts.end).is_ok_and(|marker| marker == EOC),
        wrong_counts: parts.wrong_counts,
    })
}

/// The codestream as its tile-parts are: with the End Of Codestream that may be missing, which says nothing, as each tile is
/// whole; and with as many parts told of each tile as it has. OpenJPEG leaves those that are beyond what is told without a
/// word, and encoders are met that count one less.
pub(super) fn repaired<'a>(data: &'a [u8], header: &Header) -> Cow<'a, [u8]> {
    if header.ended && header.wrong_counts.is_empty() {
        return data.into();
    }
    let mut repaired = data[..header.end].to_vec();
    for (at, count) in &header.wrong_counts {
        repaired[*at] = *count;
    }
    repaired.extend(EOC.to_be_bytes());
    repaired.into()
}

/// What a walk over the tile-parts found: each tile has one, and each one is whole.
struct TileParts {
    /// Coding styles that a tile has for itself, in one or other of its components.
    styles: BTreeMap<usize, Vec<Style>>,
    /// Behind the last one.
    end: usize,
    wrong_counts: Vec<(usize, u8)>,
}

impl TileParts {
    fn read(data: &[u8], mut at: usize, tiles: usize, main: Style) -> Result<Self, Refusal> {
        let (mut counts, mut styles) = (vec![0_u8; tiles], BTreeMap::<usize, Vec<Style>>::new());
        let mut told = Vec::new();
        while data.len() > at + 1 && word(data, at)? == SOT {
            let start = at;
            let parameters = segment(data, &mut at)?;
            let [i0, i1, length @ .., _, of] = parameters else {
                return Err(Refusal::damaged("a tile-part header of the wrong length"));
            };
            let length: [u8; 4] =
                length.try_into().map_err(|_| Refusal::damaged("a tile-part header of the wrong length"))?;
            let tile = usize::from(u16::from_be_bytes([*i0, *i1]));
            let count =
                counts.get_mut(tile).ok_or(Refusal::damaged("a tile-part of a tile that there is not"))?;
            *count = count.checked_add(1).ok_or(Refusal::damaged("a tile of more than 255 parts"))?;
            told.push((tile, start + 11, *of));
            let end = match u32::from_be_bytes(length) as usize {
                // Up to the end, before the marker that stands there.
                0 => {
                    let padded = data.strip_suffix(&[0]).unwrap_or(data);
                    padded.strip_suffix(&EOC.to_be_bytes()).unwrap_or(padded).len()
                }
                length => start.saturating_add(length),
            };
            if end > data.len() {
                return Err(Refusal::damaged("it ends within a tile"));
            }
            loop {
                match word(data, at)? {
                    SOD => break,
                    COD => styles.entry(tile).or_default().push(Style::read(segment(data, &mut at)?)?),
                    COC => {
                        let parameters = segment(data, &mut at)?.get(1..);
                        let parameters = parameters.ok_or(Refusal::damaged("a COC of too few bytes"))?;
                        styles.entry(tile).or_default().push(main.of_component(parameters)?);
                    }
                    _ => {
                        segment(data, &mut at)?;
                    }
                }
            }
            if at + 2 > end {
                return Err(Refusal::damaged("a tile-part that is shorter than its header"));
            }
            at = end;
        }
        if counts.contains(&0) {
            return Err(Refusal::damaged("it ends before its last tile"));
        }
        // A 0 tells nothing.
        let wrong = told.into_iter().filter(|(tile, _, of)| *of != 0 && *of != counts[*tile]);
        let wrong_counts = wrong.map(|(tile, at, _)| (at, counts[tile])).collect();
        Ok(Self { styles, end: at, wrong_counts })
    }
}

fn word(data: &[u8], at: usize) -> Result<u16, Refusal> {
    let bytes = data
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .ok_or(Refusal::damaged("it ends within its headers"))?;
    Ok(u16::from_be_bytes(*bytes))
}

/// The parameters of the segment whose marker stands at `at`, which is moved behind it.
fn segment<'a>(data: &'a [u8], at: &mut usize) -> Result<&'a [u8], Refusal> {
    let length = usize::from(word(data, *at + 2)?);
    let parameters = data.get(*at + 4..(*at + 2).saturating_add(length));
    *at = (*at + 2).saturating_add(length);
    parameters.ok_or(Refusal::damaged("a marker segment that is not whole"))
}

/// Image and tiles on the reference grid (B.2, B.3).
struct Image {
    /// Left and right, top and bottom; the right and bottom ones are exclusive.
    area: [(u64, u64); 2],
    /// Width and height of a tile, and where the first one begins.
    tile: [(u64, u64); 2],
    components: u64,
    precision: u32,
    signed: bool,
}

impl Image {
    fn read(parameters: &[u8], shape: &Shape) -> Result<Self, Refusal> {
        let bad = || Refusal::damaged("its size is none");
        let (head, components) = parameters.split_at_checked(36).ok_or_else(bad)?;
        let long = |n: usize| u64::from(u32::from_be_bytes([head[n], head[n + 1], head[n + 2], head[n + 3]]));
        let area = [(long(10), long(2)), (long(14), long(6))];
        let tile = [(long(18), long(26)), (long(22), long(30))];
        let count = u16::from_be_bytes([head[34], head[35]]);
        for ((from, to), (size, first)) in area.into_iter().zip(tile) {
            if from >= to || size == 0 || first > from || first + size <= from {
                return Err(bad());
            }
        }
        let [width, height] = area.map(|(from, to)| to - from);
        if (width, height, count) != (shape.columns.into(), shape.rows.into(), shape.samples) {
            return Err(Refusal::disagrees(format!(
                "{width} × {height} pixels with {count} samples, and not {} × {} with {}",
                shape.columns, shape.rows, shape.samples
            )));
        }
        if width * height * u64::from(count) > SAMPLES {
            return Err(Refusal::TooLarge(format!("JPEG 2000 of {width} × {height} pixels").into()));
        }
        let (components, rest) = components.as_chunks::<3>();
        if components.len() != usize::from(count) || !rest.is_empty() {
            return Err(bad());
        }
        let [depth, ..] = components[0];
        if components.iter().any(|component| *component != [depth, 1, 1]) {
            return Err(Refusal::unsupported("JPEG 2000 with components that differ in size or depth"));
        }
        let precision = u32::from(depth & 0x7F) + 1;
        Ok(Self { area, tile, components: count.into(), precision, signed: depth & 0x80 != 0 })
    }

    /// How many tiles there are, from left to right and from top to bottom.
    fn grid(&self) -> [u64; 2] {
        std::array::from_fn(|n| (self.area[n].1 - self.tile[n].1).div_ceil(self.tile[n].0))
    }

    fn tiles(&self) -> Result<usize, Refusal> {
        let [across, down] = self.grid();
        let tiles =
            across.checked_mul(down).filter(|tiles| *tiles <= 65535).and_then(|tiles| tiles.try_into().ok());
        tiles.ok_or(Refusal::damaged("more than 65535 tiles"))
    }

    /// Where a tile begins and ends, across or down: by its number in a row or column.
    fn span(&self, direction: usize, number: u64) -> (u64, u64) {
        let ((from, to), (size, first)) = (self.area[direction], self.tile[direction]);
        ((first + number * size).max(from), (first + (number + 1) * size).min(to))
    }

    /// Refuses what would take more than the codestream can be meant for: packets that it has no room for, and
    /// code-blocks and layers without end. `of_tiles`: the styles of those that have one of their own.
    fn bound(
        &self,
        styles: &[Style],
        of_tiles: &BTreeMap<usize, Vec<Style>>,
        length: u64,
    ) -> Result<(), Refusal> {
        let [across, _] = self.grid();
        let (mut packets, mut blocks) = (0_u64, 0_u64);
        for tile in 0..self.tiles()? {
            let (columns, rows) = (self.span(0, tile as u64 % across), self.span(1, tile as u64 / across));
            for style in styles {
                // Of several the one that takes most: a codestream with few packets has room for some more.
                let all = std::iter::once(style).chain(of_tiles.get(&tile).into_iter().flatten());
                let counts = all.map(|style| style.count(columns, rows));
                let most = counts.reduce(|a, b| (a.0.max(b.0), a.1.max(b.1))).unwrap_or_default();
                packets = packets.saturating_add(most.0);
                blocks = blocks.saturating_add(most.1);
            }
        }
        let samples = self.area.iter().map(|(from, to)| to - from).product::<u64>() * self.components;
        if packets > length {
            return Err(Refusal::damaged(format!("{packets} packets in {length} bytes")));
        }
        if blocks > (samples * BLOCKS_AND_LAYERS).max(FEW_BLOCKS) {
            return Err(Refusal::TooLarge(format!("{blocks} code-blocks and layers of JPEG 2000").into()));
        }
        Ok(())
    }
}

/// The coding style of a component (A.6.1, A.6.2).
#[derive(Clone, Copy)]
struct Style {
    layers: u64,
    /// Decomposition levels: one less than there are resolutions.
    levels: u32,
    /// Width and height of a code-block, as exponents.
    block: (u32, u32),
    high_throughput: bool,
    reversible: bool,
    /// The multiple component transformation is used.
    transformed: bool,
    /// Width and height of precincts for each resolution, as exponents.
    precincts: [(u32, u32); 33],
}

impl Style {
    fn read(parameters: &[u8]) -> Result<Self, Refusal> {
        let [style, _, l0, l1, transformation, rest @ ..] = parameters else {
            return Err(Refusal::damaged("a coding style of too few bytes"));
        };
        let layers = u16::from_be_bytes([*l0, *l1]).into();
        if layers == 0 {
            return Err(Refusal::damaged("no layers"));
        }
        let none = [(0, 0); 33];
        let base = Self {
            layers,
            levels: 0,
            block: (0, 0),
            high_throughput: false,
            reversible: false,
            transformed: *transformation != 0,
            precincts: none,
        };
        base.with(style & 1 != 0, rest)
    }

    /// The style of a component that has one of its own. `parameters`: of COC, behind the component's number.
    fn of_component(self, parameters: &[u8]) -> Result<Self, Refusal> {
        let (style, rest) = parameters.split_first().ok_or(Refusal::damaged("a COC of too few bytes"))?;
        self.with(style & 1 != 0, rest)
    }

    fn with(self, tells_precincts: bool, parameters: &[u8]) -> Result<Self, Refusal> {
        let [levels, width, height, style, transformation, sizes @ ..] = parameters else {
            return Err(Refusal::damaged("a coding style of too few bytes"));
        };
        let (levels, block) = (u32::from(*levels), (u32::from(width & 15) + 2, u32::from(height & 15) + 2));
        if levels > 32 || block.0 > 10 || block.1 > 10 || block.0 + block.1 > 12 {
            return Err(Refusal::damaged("a coding style that there is not"));
        }
        // Untold, precincts are as large as can be.
        let mut precincts = [(15, 15); 33];
        if tells_precincts {
            let sizes = sizes
                .get(..=levels as usize)
                .ok_or(Refusal::damaged("a coding style without its precincts"))?;
            for (n, (to, size)) in precincts.iter_mut().zip(sizes).enumerate() {
                *to = (u32::from(size & 15), u32::from(size >> 4));
                if n > 0 && (to.0 == 0 || to.1 == 0) {
                    return Err(Refusal::damaged("precincts of no size"));
                }
            }
        }
        let high_throughput = style & 0x40 != 0;
        let reversible = *transformation == 1;
        Ok(Self { levels, block, high_throughput, reversible, precincts, ..self })
    }

    /// How many packets a component of a tile has, and at most how many code-blocks times layers. `columns`, `rows`:
    /// where the tile begins and ends (B.5 to B.7).
    fn count(&self, columns: (u64, u64), rows: (u64, u64)) -> (u64, u64) {
        let (mut packets, mut blocks) = (0_u64, 0_u64);
        for (resolution, (width, height)) in (0..=self.levels).zip(self.precincts) {
            let level = self.levels - resolution;
            let cells = |span: (u64, u64), exponent: u32| {
                let (from, to) = (span.0.div_ceil(1 << level), span.1.div_ceil(1 << level));
                if from == to { 0 } else { to.div_ceil(1 << exponent) - (from >> exponent) }
            };
            packets = packets.saturating_add(cells(columns, width) * cells(rows, height));
            // The bands of all but the lowest resolution lie on a grid of half its width, and so do their code-blocks,
            // which do not go beyond a precinct.
            let half = u32::from(resolution > 0);
            let (block_width, block_height) = (self.block.0 + half, self.block.1 + half);
            let of_a_band = cells(columns, block_width.min(width)) * cells(rows, block_height.min(height));
            blocks = blocks.saturating_add(of_a_band * if half == 1 { 3 } else { 1 });
        }
        (packets.saturating_mul(self.layers), blocks.saturating_mul(self.layers))
    }
}
