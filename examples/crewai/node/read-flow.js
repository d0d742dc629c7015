// Print the newest state of a CrewAI flow as JSON, straight from a swarmstate store's file.
//
//     node read-flow.js FILE FLOW_ID
//
// The file must not be open elsewhere: sql.js reads the whole file, but not the log next to it.

import { readFileSync } from "node:fs";
import { decode } from "@msgpack/msgpack";
import initSqlJs from "sql.js";

const [file, flow] = process.argv.slice(2);
const SQL = await initSqlJs();
const database = new SQL.Database(readFileSync(file));
const statement = database.prepare(`
  SELECT coalesce(large_value.value, record.value) AS value
  FROM record
  JOIN namespace ON namespace.id = record.namespace_id
  LEFT JOIN large_value ON typeof(record.value) = 'integer' AND large_value.id = record.value
  WHERE namespace.name = $namespace AND record.key >= 'state/' AND record.key < 'state0'
  ORDER BY record.key DESC LIMIT 1`);
statement.bind({ $namespace: `crewai-flow:${flow}` });
if (!statement.step()) {
  console.error(`expected a state of flow ${flow} in ${file}, found none`);
  process.exit(1);
}
const { method, state } = decode(statement.getAsObject().value);
console.log(JSON.stringify({ method, state }));
