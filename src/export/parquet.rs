//! Apache Parquet: the columns of the CSV, typed; one row group, uncompressed.

use std::io::{self, Write};
use std::sync::Arc;

use ::parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::types::Type;

use super::MetricRow;

/// Writes rows as a Parquet file. Instants are UTC in microseconds; a value or dimension that is not there is null.
///
/// # Errors
/// Those of the writer.
pub fn write_parquet<'a>(rows: impl IntoIterator<Item = &'a MetricRow>, out: impl Write + Send) -> io::Result<()> {
    let rows: Vec<&MetricRow> = rows.into_iter().collect();
    write(&rows, out).map_err(io::Error::other)
}

fn write(rows: &[&MetricRow], out: impl Write + Send) -> Result<(), ParquetError> {
    let fields = [
        text("org_id", Repetition::REQUIRED),
        text("metric_name", Repetition::REQUIRED),
        text("aggregation", Repetition::REQUIRED),
        instant("window_start"),
        instant("window_end"),
        text("region", Repetition::OPTIONAL),
        text("severity", Repetition::OPTIONAL),
        text("unit_type", Repetition::OPTIONAL),
        field("value", Physical::DOUBLE, Repetition::OPTIONAL, None),
        field("sample_count", Physical::INT64, Repetition::REQUIRED, None),
        field("exact", Physical::BOOLEAN, Repetition::REQUIRED, None),
    ];
    let fields = fields.into_iter().collect::<Result<Vec<_>, _>>()?;
    let schema = Arc::new(Type::group_type_builder("metrics").with_fields(fields).build()?);
    let mut writer = SerializedFileWriter::new(out, schema, Arc::new(WriterProperties::builder().build()))?;
    let mut group = writer.next_row_group()?;
    required_texts(&mut group, rows, |row| row.org_id.as_str())?;
    required_texts(&mut group, rows, |row| row.metric.metric_name)?;
    required_texts(&mut group, rows, |row| row.metric.aggregation.as_str())?;
    numbers(&mut group, rows, |row| row.metric.window_start.as_micros())?;
    numbers(&mut group, rows, |row| row.metric.window_end.as_micros())?;
    for dimension in ["region", "severity", "unit_type"] {
        let values: Vec<Option<ByteArray>> =
            rows.iter().map(|row| row.dimension(dimension).map(ByteArray::from)).collect();
        optional::<ByteArrayType, _>(&mut group, &values)?;
    }
    let values: Vec<Option<f64>> = rows.iter().map(|row| row.metric.value).collect();
    optional::<DoubleType, _>(&mut group, &values)?;
    numbers(&mut group, rows, |row| row.metric.sample_count as i64)?;
    let exact: Vec<bool> = rows.iter().map(|row| row.metric.exact).collect();
    column::<BoolType>(&mut group, &exact, None)?;
    group.close()?;
    writer.close()?;
    Ok(())
}

fn field(
    name: &str,
    physical: Physical,
    repetition: Repetition,
    logical: Option<LogicalType>,
) -> Result<Arc<Type>, ParquetError> {
    let builder = Type::primitive_type_builder(name, physical).with_repetition(repetition);
    Ok(Arc::new(builder.with_logical_type(logical).build()?))
}

fn text(name: &str, repetition: Repetition) -> Result<Arc<Type>, ParquetError> {
    field(name, Physical::BYTE_ARRAY, repetition, Some(LogicalType::String))
}

fn instant(name: &str) -> Result<Arc<Type>, ParquetError> {
    let micros = LogicalType::Timestamp { is_adjusted_to_u_t_c: true, unit: TimeUnit::MICROS(Default::default()) };
    field(name, Physical::INT64, Repetition::REQUIRED, Some(micros))
}

fn required_texts<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[&MetricRow],
    text: impl Fn(&MetricRow) -> &str,
) -> Result<(), ParquetError> {
    let values: Vec<ByteArray> = rows.iter().map(|row| ByteArray::from(text(row))).collect();
    column::<ByteArrayType>(group, &values, None)
}

fn numbers<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[&MetricRow],
    number: impl Fn(&MetricRow) -> i64,
) -> Result<(), ParquetError> {
    let values: Vec<i64> = rows.iter().map(|row| number(row)).collect();
    column::<Int64Type>(group, &values, None)
}

/// A column of which some values may be missing: those that are there, and for every row whether it has one.
fn optional<T: ::parquet::data_type::DataType<T = V>, V: Clone>(
    group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    values: &[Option<V>],
) -> Result<(), ParquetError> {
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let present: Vec<V> = values.iter().flatten().cloned().collect();
    column::<T>(group, &present, Some(&levels))
}

fn column<T: ::parquet::data_type::DataType>(
    group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.ok_or_else(|| ParquetError::General("a column too many".into()))?;
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()
}

#[cfg(test)]
mod tests {
    use ::parquet::file::reader::{FileReader, SerializedFileReader};
    use ionveil_actors::dispatch::{AggregatedMetric, AggregationType};
    use ionveil_actors::domain::Timestamp;

    use super::*;

    #[test]
    fn a_file_is_read_back_as_it_was_written() {
        let row = |value: Option<f64>, region: Option<&str>| MetricRow {
            org_id: "sffd".parse().expect("an id"),
            metric: AggregatedMetric {
                metric_name: "response_time",
                value,
                window_start: Timestamp::EPOCH,
                window_end: Timestamp::EPOCH.saturating_add_micros(60_000_000),
                dimensions: region.map(|region| ("region", region.to_owned())).into_iter().collect(),
                sample_count: u64::from(value.is_some()),
                aggregation: AggregationType::Average,
                exact: true,
            },
        };
        let rows = [row(Some(2.5), Some("B04")), row(None, None)];
        let mut file = Vec::new();
        write_parquet(&rows, &mut file).expect("memory");
        let reader = SerializedFileReader::new(bytes::Bytes::from(file)).expect("a Parquet file");
        let read: Vec<String> =
            reader.get_row_iter(None).expect("rows").map(|row| row.expect("a row").to_string()).collect();
        assert_eq!(read.len(), 2);
        assert!(read[0].contains("region: \"B04\"") && read[0].contains("value: 2.5"), "{}", read[0]);
        assert!(read[1].contains("region: null") && read[1].contains("value: null"), "{}", read[1]);
        assert!(read[0].contains("window_end: 1970-01-01 00:01:00"), "{}", read[0]);
    }
}
