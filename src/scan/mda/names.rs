//! What the PVs of a scan mean: ion chambers, ring current, times and rates of the detectors.
//!
//! The names on the right are those of MAPS; the table holds what XRF-Maps' `Scaler_to_PV_map.yaml`
//! says of the APS beamlines.

/// Ion chambers and their like, by PV.
const SCALERS: [(&str, &str); 41] = [
    ("S:SRcurrentAI", "SR_Current"),
    ("2idd:scaler1_cts1.B", "DS_IC"),
    ("2idd:scaler1_cts1.C", "US_IC"),
    ("2idd:scaler1_cts1.D", "XBIC"),
    ("2iddtmm1:Current3", "US_FM"),
    ("2iddtmm1:Current3:MeanValue_RBV", "US_FM"),
    ("2xfm:scaler1_cts1.B", "US_IC"),
    ("2xfm:scaler1_cts1.C", "DS_IC"),
    ("2xfm:scaler1_cts2.A", "DPC1_IC"),
    ("2xfm:scaler1_cts2.B", "DPC2_IC"),
    ("2xfm:scaler1_cts3.B", "CFG_1"),
    ("2xfm:scaler1_cts3.C", "CFG_2"),
    ("2xfm:scaler1_cts3.D", "CFG_3"),
    ("2xfm:scaler1_cts4.A", "CFG_4"),
    ("2xfm:scaler1_cts4.B", "CFG_5"),
    ("2xfm:scaler1_cts4.C", "CFG_6"),
    ("2xfm:scaler1_cts4.D", "CFG_7"),
    ("2xfm:scaler1_cts5.A", "CFG_9"),
    ("2xfm:scaler3_cts1.B", "US_IC"),
    ("2xfm:scaler3_cts1.C", "DS_IC"),
    ("2xfm:scaler3_cts2.A", "DPC1_IC"),
    ("2xfm:scaler3_cts2.B", "DPC2_IC"),
    ("2xfm:scaler3_cts3.B", "CFG_1"),
    ("2xfm:scaler3_cts3.C", "CFG_2"),
    ("2xfm:scaler3_cts3.D", "CFG_3"),
    ("2xfm:scaler3_cts4.A", "CFG_4"),
    ("2xfm:scaler3_cts4.B", "CFG_5"),
    ("2xfm:scaler3_cts4.C", "CFG_6"),
    ("2xfm:scaler3_cts4.D", "CFG_7"),
    ("2xfm:scaler3_cts5.A", "CFG_9"),
    ("8bmb:3820:scaler1_cts1.B", "US_IC"),
    ("8bmb:3820:scaler1_cts1.C", "DS_IC"),
    ("21:D3:scaler1_cts2.B", "US_IC"),
    ("21:D3:scaler1_cts1.B", "CFG_2"),
    ("21:D3:scaler1_cts1.C", "CFG_3"),
    ("21:D3:scaler1_cts1.D", "CFG_4"),
    ("21:D3:scaler1_cts2.A", "CFG_5"),
    ("26idc:3820:scaler1_cts1.B", "US_IC"),
    ("26idc:3820:scaler1_cts1.C", "DS_IC"),
    ("I0", "US_IC"),
    ("I1", "DS_IC"),
];

/// Fly scans count clock ticks beside the ion chambers: prefix, ticks PV, ticks per second, and
/// the scalers that become counts per second.
const CLOCKED: [Clocked; 4] = [
    Clocked {
        prefix: "2xfm:mcs:",
        ticks: "mca1.VAL",
        hertz: 25e6,
        scalers: &[
            ("mca2.VAL", "US_IC"),
            ("mca3.VAL", "DS_IC"),
            ("mca5.VAL", "DPC1_IC"),
            ("mca6.VAL", "DPC2_IC"),
            ("mca10.VAL", "CFG_1"),
            ("mca11.VAL", "CFG_2"),
            ("mca12.VAL", "CFG_3"),
            ("mca13.VAL", "CFG_4"),
            ("mca14.VAL", "CFG_5"),
            ("mca15.VAL", "CFG_6"),
            ("mca16.VAL", "CFG_7"),
            ("mca17.VAL", "CFG_8"),
            ("mca18.VAL", "CFG_9"),
        ],
    },
    Clocked {
        prefix: "2idd:3820:",
        ticks: "mca1.VAL",
        hertz: 50e6,
        scalers: &[("mca3.VAL", "US_IC"), ("mca2.VAL", "DS_IC")],
    },
    Clocked {
        prefix: "8bmb:3820:",
        ticks: "mca1.VAL",
        hertz: 50e6,
        scalers: &[("mca2.VAL", "US_IC"), ("mca3.VAL", "DS_IC")],
    },
    Clocked {
        prefix: "21:D3:scaler1:",
        ticks: "mca1.VAL",
        hertz: 50e6,
        scalers: &[
            ("mca6.VAL", "US_IC"),
            ("mca2.VAL", "CFG_2"),
            ("mca3.VAL", "CFG_3"),
            ("mca4.VAL", "CFG_4"),
            ("mca5.VAL", "CFG_5"),
        ],
    },
];

struct Clocked {
    prefix: &'static str,
    ticks: &'static str,
    hertz: f32,
    scalers: &'static [(&'static str, &'static str)],
}

/// A scaler that is divided by the time it counted.
#[derive(Debug, PartialEq)]
pub(super) struct Rate {
    /// MAPS name.
    pub(super) name: &'static str,
    /// PV of the clock ticks.
    pub(super) ticks: String,
    /// Ticks per second.
    pub(super) hertz: f32,
}

/// MAPS name of a PV, when it has one: `ELT1` is the live time of the first detector, `ERT1` its
/// real time, `ICR1` and `OCR1` its input and output count rates.
pub(super) fn scaler(pv: &str) -> Option<String> {
    let timed = |suffix: &str, marker: &str, name: &str| {
        let (_, number) = pv.strip_suffix(suffix)?.rsplit_once(marker)?;
        let number: u32 = number.parse().ok()?;
        Some(format!("{name}{number}"))
    };
    timed(".ELTM", "mca", "ELT")
        .or_else(|| timed(".ERTM", "mca", "ERT"))
        .or_else(|| timed(":InputCountRate", "dxp", "ICR"))
        .or_else(|| timed(":OutputCountRate", "dxp", "OCR"))
        .or_else(|| Some(SCALERS.iter().find(|(known, _)| *known == pv)?.1.to_owned()))
}

/// The rate a PV of a fly scan stands for, when it does.
pub(super) fn rate(pv: &str) -> Option<Rate> {
    CLOCKED.iter().find_map(|clocked| {
        let suffix = pv.strip_prefix(clocked.prefix)?;
        let (_, name) = clocked.scalers.iter().find(|(known, _)| *known == suffix)?;
        Some(Rate {
            name,
            ticks: format!("{}{}", clocked.prefix, clocked.ticks),
            hertz: clocked.hertz,
        })
    })
}
