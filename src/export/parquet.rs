//! Metrics as a Parquet file: one row group, uncompressed, instants as microseconds in UTC.

use std::io::{self, Write};
use std::sync::Arc;

use ionveil_actors::dispatch::AggregatedMetric;
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};

use super::{COLUMNS, Row};

/// Writes metrics as one Parquet file with [`COLUMNS`].
///
/// # Errors
/// Those of `out`.
pub fn write_parquet(metrics: &[AggregatedMetric], out: impl Write + Send) -> io::Result<()> {
    write(metrics, out).map_err(io::Error::other)
}

fn write(metrics: &[AggregatedMetric], out: impl Write + Send) -> Result<()> {
    let rows: Vec<Row<'_>> = metrics.iter().map(Row::of).collect();
    let properties = Arc::new(WriterProperties::builder().build());
    let mut file = SerializedFileWriter::new(out, schema()?, properties)?;
    let mut group = file.next_row_group()?;
    let text = |value: &str| ByteArray::from(value.as_bytes().to_vec());
    // In the order of the columns.
    column::<ByteArrayType, _>(&mut group, &rows, |row| Some(text(row.metric_name)))?;
    column::<ByteArrayType, _>(&mut group, &rows, |row| Some(text(row.aggregation)))?;
    column::<Int64Type, _>(&mut group, &rows, |row| Some(row.window_start.as_micros()))?;
    column::<Int64Type, _>(&mut group, &rows, |row| Some(row.window_end.as_micros()))?;
    column::<ByteArrayType, _>(&mut group, &rows, |row| row.region.map(text))?;
    column::<ByteArrayType, _>(&mut group, &rows, |row| row.severity.map(text))?;
    column::<ByteArrayType, _>(&mut group, &rows, |row| row.unit_type.map(text))?;
    column::<DoubleType, _>(&mut group, &rows, |row| row.value)?;
    column::<Int64Type, _>(&mut group, &rows, |row| Some(row.sample_count.cast_signed()))?;
    column::<BoolType, _>(&mut group, &rows, |row| Some(row.exact))?;
    group.close()?;
    file.close()?;
    Ok(())
}

fn schema() -> Result<TypePtr> {
    let instant = LogicalType::timestamp(true, TimeUnit::MICROS);
    let types = [
        (PhysicalType::BYTE_ARRAY, Some(LogicalType::String), Repetition::REQUIRED),
        (PhysicalType::BYTE_ARRAY, Some(LogicalType::String), Repetition::REQUIRED),
        (PhysicalType::INT64, Some(instant.clone()), Repetition::REQUIRED),
        (PhysicalType::INT64, Some(instant), Repetition::REQUIRED),
        (PhysicalType::BYTE_ARRAY, Some(LogicalType::String), Repetition::OPTIONAL),
        (PhysicalType::BYTE_ARRAY, Some(LogicalType::String), Repetition::OPTIONAL),
        (PhysicalType::BYTE_ARRAY, Some(LogicalType::String), Repetition::OPTIONAL),
        (PhysicalType::DOUBLE, None, Repetition::OPTIONAL),
        (PhysicalType::INT64, None, Repetition::REQUIRED),
        (PhysicalType::BOOLEAN, None, Repetition::REQUIRED),
    ];
    let field = |(name, (physical, logical, repetition)): (&str, _)| {
        let built = Type::primitive_type_builder(name, physical).with_logical_type(logical).with_repetition(repetition);
        Ok(Arc::new(built.build()?))
    };
    let fields = COLUMNS.into_iter().zip(types).map(field).collect::<Result<_>>()?;
    Ok(Arc::new(Type::group_type_builder("metrics").with_fields(fields).build()?))
}

/// Writes the next column. One that may be empty says of each row whether it has a value.
fn column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    rows: &[Row<'_>],
    value: impl Fn(&Row<'_>) -> Option<T::T>,
) -> Result<()> {
    let mut column = group.next_column()?.expect("as many columns as the schema has");
    let is_there: Vec<i16> = rows.iter().map(|row| i16::from(value(row).is_some())).collect();
    let values: Vec<T::T> = rows.iter().filter_map(value).collect();
    column.typed::<T>().write_batch(&values, Some(&is_there), None)?;
    column.close()
}
