//! From the values of a modality to those that are looked at: windows and tables (PS3.3 C.11.2.1).

use std::str::FromStr;

use super::attributes::decimal;
use super::lut::{Inputs, Lut};
use crate::dicom::dataset::DataSet;
use crate::dicom::tags;

/// VOI LUT Function (0028,1056).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Function {
    /// LINEAR: of the values that whole numbers stand for; Window Width is at least 1 (PS3.3 C.11.2.1.2.1).
    #[default]
    Linear,
    /// LINEAR_EXACT (PS3.3 C.11.2.1.3.2).
    LinearExact,
    /// SIGMOID (PS3.3 C.11.2.1.3.1).
    Sigmoid,
}

/// A window: Window Center (0028,1050) and Window Width (0028,1051), and how it is applied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    center: f64,
    width: f64,
    function: Function,
}

/// It is no window: its width is too small, or something is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a window is center,width,function: two decimal numbers, the width above 0 and at least 1 with linear, and linear, linear-exact or sigmoid"
)]
pub struct BadWindow;

impl Window {
    /// A window.
    ///
    /// # Errors
    /// The width is below 1, which LINEAR must have, or not above 0; or something is not finite.
    pub fn new(center: f64, width: f64, function: Function) -> Result<Self, BadWindow> {
        let least = if function == Function::Linear { 1.0 } else { f64::MIN_POSITIVE };
        let fits = center.is_finite() && width.is_finite() && width >= least;
        if fits { Ok(Self { center, width, function }) } else { Err(BadWindow) }
    }

    /// The first window of a data set, or of an item of Frame VOI LUT Sequence; `None`: it has none that is one.
    pub(super) fn read(data_set: &DataSet) -> Option<Self> {
        let function = match data_set.string(tags::VOILUT_FUNCTION) {
            Some("LINEAR_EXACT") => Function::LinearExact,
            Some("SIGMOID") => Function::Sigmoid,
            _ => Function::Linear,
        };
        let (center, width) = (tags::WINDOW_CENTER, tags::WINDOW_WIDTH);
        Self::new(decimal(data_set, center, 0)?, decimal(data_set, width, 0)?, function).ok()
    }

    /// The value in a range of 0 to 255, not rounded.
    fn at(&self, value: f64) -> f64 {
        let Self { center, width, function } = *self;
        match function {
            Function::Linear => {
                let (center, width) = (center - 0.5, width - 1.0);
                if value <= center - width / 2.0 {
                    0.0
                } else if value > center + width / 2.0 {
                    255.0
                } else {
                    ((value - center) / width + 0.5) * 255.0
                }
            }
            Function::LinearExact => (((value - center) / width + 0.5) * 255.0).clamp(0.0, 255.0),
            Function::Sigmoid => 255.0 / (1.0 + (-4.0 * (value - center) / width).exp()),
        }
    }
}

/// As the parameter `window` of PS3.18 8.3.5.1.4 has it: `center,width,function`. The function may be left out.
impl FromStr for Window {
    type Err = BadWindow;

    fn from_str(text: &str) -> Result<Self, BadWindow> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let (center, width, function) = match parts[..] {
            [center, width] => (center, width, "linear"),
            [center, width, function] => (center, width, function),
            _ => return Err(BadWindow),
        };
        let function = match function.to_ascii_lowercase().as_str() {
            "linear" => Function::Linear,
            "linear-exact" | "linear_exact" => Function::LinearExact,
            "sigmoid" => Function::Sigmoid,
            _ => return Err(BadWindow),
        };
        let number = |text: &str| text.parse().map_err(|_| BadWindow);
        Self::new(number(center)?, number(width)?, function)
    }
}

/// How values become what is looked at.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Voi {
    /// A window.
    Window(Window),
    /// A table of VOI LUT Sequence (0028,3010).
    Table(Lut),
    /// From the least value of a frame to the greatest.
    Range(f64, f64),
}

impl Voi {
    /// What an image says itself: in `item`, where it has functional groups that of Frame VOI LUT Sequence. `inputs`:
    /// the values that there can be. `None`: it says nothing.
    pub(super) fn read(item: &DataSet, inputs: Inputs) -> Option<Self> {
        let table = item.items(tags::VOILUT_SEQUENCE).first().and_then(|table| Lut::read(table, inputs));
        table.map(Self::Table).or_else(|| Window::read(item).map(Self::Window))
    }

    /// No transformation: the least value that there can be is black, the greatest white (PS3.4 N.2.1.3). `None`: there are
    /// no such values.
    pub(super) fn identity(inputs: Inputs) -> Option<Self> {
        let Inputs { least, greatest } = inputs;
        (least.is_finite() && greatest.is_finite()).then_some(Self::Range(least, greatest))
    }

    /// The value in a range of 0 to 255.
    pub(super) fn at(&self, value: f64) -> u8 {
        // Conversions saturate, and what is no number is 0.
        match self {
            Self::Window(window) => (window.at(value) + 0.5) as u8,
            Self::Table(lut) => lut.byte_at(value.round() as i64),
            Self::Range(least, greatest) if greatest > least => {
                ((value - least) / (greatest - least) * 255.0 + 0.5) as u8
            }
            Self::Range(..) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::VR;
    use crate::image::render::lut::tests::{SIGNED, UNSIGNED, item};

    fn window(center: f64, width: f64, function: Function) -> Voi {
        Voi::Window(Window::new(center, width, function).unwrap())
    }

    #[test]
    fn linear_has_the_ends_that_the_formula_has() {
        // C.11.2.1.2.1, note 3: center 2048, width 4096 maps 0 to 0 and 4095 to the greatest value.
        let voi = window(2048.0, 4096.0, Function::Linear);
        assert_eq!([-1.0, 0.0, 2047.5, 4095.0, 9999.0].map(|value| voi.at(value)), [0, 0, 128, 255, 255]);
        // Note 4: 2048 and 1 are a threshold, above 2047.
        let voi = window(2048.0, 1.0, Function::Linear);
        assert_eq!([2047.0, 2048.0].map(|value| voi.at(value)), [0, 255]);
        // Center 0, width 100 maps -50 to 0 and 49 to the greatest.
        let voi = window(0.0, 100.0, Function::Linear);
        assert_eq!([-50.0, 49.0].map(|value| voi.at(value)), [0, 255]);
        assert!(voi.at(-49.0) > 0 && voi.at(48.0) < 255);
    }

    #[test]
    fn linear_exact_reaches_its_ends_half_a_width_away() {
        let voi = window(0.0, 100.0, Function::LinearExact);
        assert_eq!([-51.0, -50.0, 0.0, 50.0, 51.0].map(|value| voi.at(value)), [0, 0, 128, 255, 255]);
        assert_eq!(voi.at(49.0), 252);
        let narrow = window(0.5, 0.5, Function::LinearExact);
        assert_eq!([0.25, 0.5, 0.75].map(|value| narrow.at(value)), [0, 128, 255]);
    }

    #[test]
    fn a_sigmoid_is_steepest_in_the_middle_and_never_ends() {
        let voi = window(100.0, 40.0, Function::Sigmoid);
        // 255 / (1 + e^2) and 255 / (1 + e^-2), half a width from the middle.
        assert_eq!([80.0, 100.0, 120.0].map(|value| voi.at(value)), [30, 128, 225]);
        assert_eq!([f64::MIN, f64::MAX, f64::NAN].map(|value| voi.at(value)), [0, 255, 0]);
    }

    #[test]
    fn a_table_comes_before_a_window_and_only_the_first_of_each_counts() {
        let mut data_set = DataSet::new();
        assert_eq!(Voi::read(&data_set, UNSIGNED), None);
        data_set.set_str(tags::WINDOW_CENTER, VR::DS, "40");
        data_set.set_str(tags::WINDOW_WIDTH, VR::DS, "0");
        assert_eq!(Voi::read(&data_set, UNSIGNED), None, "a width of 0 is no window");
        data_set.set_strings(tags::WINDOW_CENTER, VR::DS, vec!["40".into(), "7".into()]);
        data_set.set_strings(tags::WINDOW_WIDTH, VR::DS, vec!["400".into(), "8".into()]);
        data_set.set_str(tags::VOILUT_FUNCTION, VR::CS, "SIGMOID");
        assert_eq!(Voi::read(&data_set, UNSIGNED), Some(window(40.0, 400.0, Function::Sigmoid)));
        let tables = vec![item(VR::US, [2, 0xFFFF, 8], &[0, 255]), item(VR::US, [1, 0, 8], &[9])];
        data_set.set_items(tags::VOILUT_SEQUENCE, tables);
        let voi = Voi::read(&data_set, SIGNED).unwrap();
        assert_eq!([-1.0, 0.0].map(|value| voi.at(value)), [0, 255]);
    }

    #[test]
    fn a_range_is_stretched_and_one_value_is_black() {
        let voi = Voi::Range(-10.0, 10.0);
        assert_eq!([-11.0, -10.0, 0.0, 10.0, 11.0].map(|value| voi.at(value)), [0, 0, 128, 255, 255]);
        assert_eq!(Voi::Range(3.0, 3.0).at(3.0), 0);
    }

    #[test]
    fn a_window_is_read_from_a_query() {
        assert_eq!("40,400,linear".parse(), Window::new(40.0, 400.0, Function::Linear));
        assert_eq!("-1.5,.5,Linear-Exact".parse(), Window::new(-1.5, 0.5, Function::LinearExact));
        assert_eq!("4e1,40".parse(), Window::new(40.0, 40.0, Function::Linear));
        for bad in [
            "",
            "40",
            "40,0,linear",
            "40,0.5,linear",
            "40,0,sigmoid",
            "1,2,cubic",
            "nan,4,linear",
            "1,inf,linear",
            "1,2,linear,3",
        ] {
            assert_eq!(bad.parse::<Window>(), Err(BadWindow), "{bad}");
        }
    }
}
