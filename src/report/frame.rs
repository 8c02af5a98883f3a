//! Tables of many rows as files: CSV and Parquet. The only module that writes with `csv` and knows `parquet`.

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use std::sync::Arc;

/// A table: columns of equal length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    /// The columns.
    pub columns: Vec<Column>,
    /// What holds for the whole table: version, seed, fingerprint.
    pub about: Vec<(String, String)>,
}

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The unit of its values; empty for none.
    pub unit: String,
    /// Its values.
    pub values: Values,
}

/// The values of a column; none where a row has no value.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Whole numbers.
    Integers(Vec<Option<i64>>),
    /// Numbers.
    Numbers(Vec<Option<f64>>),
    /// Texts.
    Texts(Vec<Option<String>>),
}

impl Values {
    /// Rows.
    pub fn len(&self) -> usize {
        match self {
            Values::Integers(values) => values.len(),
            Values::Numbers(values) => values.len(),
            Values::Texts(values) => values.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a row as a number, where it is one.
    pub fn number(&self, row: usize) -> Option<f64> {
        match self {
            Values::Integers(values) => values[row].map(|value| value as f64),
            Values::Numbers(values) => values[row],
            Values::Texts(_) => None,
        }
    }

    /// The value of a row as a file shows it: exact, and empty where there is none.
    pub fn exact(&self, row: usize) -> String {
        match self {
            Values::Integers(values) => values[row].map(|value| value.to_string()).unwrap_or_default(),
            Values::Numbers(values) => values[row].map(|value| value.to_string()).unwrap_or_default(),
            Values::Texts(values) => values[row].clone().unwrap_or_default(),
        }
    }
}

impl Column {
    /// The name with the unit: "tpot [ms]".
    pub fn title(&self) -> String {
        if self.unit.is_empty() { self.name.clone() } else { format!("{} [{}]", self.name, self.unit) }
    }
}

impl Frame {
    /// Rows.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.values.len())
    }

    /// The table as CSV, with the columns' titles in its first line.
    pub fn to_csv(&self) -> Vec<u8> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let titles: Vec<String> = self.columns.iter().map(Column::title).collect();
        writer.write_record(&titles).expect("writing to memory");
        for row in 0..self.rows() {
            let cells = self.columns.iter().map(|column| column.values.exact(row));
            writer.write_record(cells).expect("writing to memory");
        }
        writer.into_inner().expect("writing to memory")
    }

    /// The table as Parquet: optional columns of INT64, DOUBLE and UTF-8, one row group, Snappy, `about` as metadata of the file.
    pub fn to_parquet(&self) -> Vec<u8> {
        self.parquet().expect("a table is legal Parquet")
    }

    fn parquet(&self) -> Result<Vec<u8>, ParquetError> {
        let fields = self.columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
        let schema = Type::group_type_builder("table").with_fields(fields).build()?;
        let about = |(key, value): &(String, String)| KeyValue::new(key.clone(), value.clone());
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_key_value_metadata(Some(self.about.iter().map(about).collect()))
            .build();
        let mut bytes = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties))?;
        let mut group = writer.next_row_group()?;
        for column in &self.columns {
            let mut out = group.next_column()?.expect("a column of the file for every column of the table");
            // Definition level 1 says that a value is there, 0 that there is none.
            match &column.values {
                Values::Integers(values) => {
                    let (levels, values) = split(values);
                    out.typed::<Int64Type>().write_batch(&values, Some(&levels), None)?;
                }
                Values::Numbers(values) => {
                    let (levels, values) = split(values);
                    out.typed::<DoubleType>().write_batch(&values, Some(&levels), None)?;
                }
                Values::Texts(values) => {
                    let (levels, values) = split(values);
                    let values: Vec<ByteArray> = values.iter().map(|text| text.as_str().into()).collect();
                    out.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)?;
                }
            }
            out.close()?;
        }
        group.close()?;
        writer.close()?;
        Ok(bytes)
    }
}

fn field(column: &Column) -> Result<Arc<Type>, ParquetError> {
    let (physical, logical) = match column.values {
        Values::Integers(_) => (Physical::INT64, None),
        Values::Numbers(_) => (Physical::DOUBLE, None),
        Values::Texts(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
    };
    let title = column.title();
    let builder = Type::primitive_type_builder(&title, physical).with_repetition(Repetition::OPTIONAL);
    Ok(Arc::new(builder.with_logical_type(logical).build()?))
}

fn split<T: Clone>(values: &[Option<T>]) -> (Vec<i16>, Vec<T>) {
    (values.iter().map(|value| i16::from(value.is_some())).collect(), values.iter().flatten().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    fn frame() -> Frame {
        let column = |name: &str, unit: &str, values| Column { name: name.to_owned(), unit: unit.to_owned(), values };
        Frame {
            columns: vec![
                column("point", "", Values::Integers(vec![Some(0), Some(1)])),
                column("tpot", "ms", Values::Numbers(vec![Some(0.1 + 0.2), None])),
                column("error", "", Values::Texts(vec![None, Some("a \"quoted\", word".to_owned())])),
            ],
            about: vec![("version".to_owned(), "1".to_owned())],
        }
    }

    #[test]
    fn csv_is_exact_and_quoted_where_it_must() {
        let text = String::from_utf8(frame().to_csv()).expect("text");
        assert_eq!(text, "point,tpot [ms],error\n0,0.30000000000000004,\n1,,\"a \"\"quoted\"\", word\"\n");
    }

    #[test]
    fn parquet_reads_back_as_it_was() {
        let reader = SerializedFileReader::new(bytes::Bytes::from(frame().to_parquet())).expect("Parquet");
        let about = reader.metadata().file_metadata().key_value_metadata().expect("metadata").clone();
        assert!(about.iter().any(|entry| entry.key == "version" && entry.value.as_deref() == Some("1")));
        let rows: Vec<Vec<(String, Field)>> = reader
            .get_row_iter(None)
            .expect("rows")
            .map(|row| {
                row.expect("a row").get_column_iter().map(|(name, field)| (name.clone(), field.clone())).collect()
            })
            .collect();
        let title = |name: &str| name.to_owned();
        let second = (title("error"), Field::Str("a \"quoted\", word".to_owned()));
        assert_eq!(
            rows[0],
            [
                (title("point"), Field::Long(0)),
                (title("tpot [ms]"), Field::Double(0.1 + 0.2)),
                (title("error"), Field::Null)
            ]
        );
        assert_eq!(rows[1], [(title("point"), Field::Long(1)), (title("tpot [ms]"), Field::Null), second]);
    }
}
