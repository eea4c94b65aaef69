<?php
// PHP's pgsql (libpq).
error_reporting(E_ALL & ~E_WARNING);

$large = (int) (getenv('HSD_LARGE') ?: 1000);
$info = sprintf("host=%s port=%s user=%s dbname=%s password='%s' sslmode=%s%s", getenv('PGHOST'), getenv('PGPORT'), getenv('PGUSER'), getenv('PGDATABASE'),
	getenv('PGPASSWORD'), getenv('PGSSLMODE'), getenv('PGSSLROOTCERT') ? ' sslrootcert=' . getenv('PGSSLROOTCERT') : '');
$con = pg_connect($info) or exit(1);

function digest($text) { return substr(hash('sha256', $text), 0, 16); }

function rows($step, $result) {
	$got = [];
	while ($row = pg_fetch_row($result)) {
		$got[] = $row;
	}
	if (empty($step['digest'])) {
		return $got;
	}
	$lines = array_map(fn($row) => implode("\t", array_map(fn($c) => $c ?? '\N', $row)), $got);
	return [(string) count($got), digest(implode("\n", $lines))];
}

/* pg_query hides the state: sent and taken apart. */
function state($result) { return ['error' => pg_result_error_field($result, PGSQL_DIAG_SQLSTATE)]; }

function ask($sql, $values = null) {
	global $con;
	$values === null ? pg_send_query($con, $sql) : pg_send_query_params($con, $sql, $values);
	$got = pg_get_result($con);
	while (pg_get_result($con)) {
	}
	return $got;
}

function outcome($step, $result) {
	if (pg_result_status($result) === PGSQL_FATAL_ERROR) {
		return state($result);
	}
	return pg_num_fields($result) ? rows($step, $result) : null;
}

function copy_in($sql, $lines) {
	global $con;
	pg_query($con, $sql);
	foreach ($lines as $line) {
		pg_put_line($con, $line);
	}
	pg_put_line($con, "\\.\n");
	return pg_end_copy($con);
}

$ops = [
	'query' => fn($s) => rows($s, ask($s['sql'])),
	'params' => fn($s) => rows($s, ask($s['sql'], $s['params'])),
	'prepared' => function ($s) use ($con) {
		pg_prepare($con, 'hsd_p', $s['sql']);
		return array_map(fn($p) => rows($s, pg_execute($con, 'hsd_p', $p)), $s['params']);
	},
	'sequence' => fn($s) => array_map(fn($sql) => outcome($s, ask($sql)), $s['sql']),
	'copy_in' => function ($s) {
		copy_in($s['sql'], array_map(fn($i) => "$i\trow $i\n", range(1, $s['rows'])));
		return null;
	},
	'copy_out' => function ($s) use ($con) {
		/* pg_copy_to takes a query where a table would be. */
		$lines = pg_copy_to($con, trim(substr($s['sql'], strlen('copy '), -strlen(' to stdout'))));
		return [(string) count($lines), digest(implode('', $lines))];
	},
	'notice' => function ($s) use ($con) {
		pg_last_notice($con, PGSQL_NOTICE_CLEAR);
		pg_query($con, $s['sql']);
		return array_map(fn($n) => trim(substr($n, strpos($n, ':') + 1)), pg_last_notice($con, PGSQL_NOTICE_ALL));
	},
	'cancel' => function ($s) use ($con) {
		pg_send_query($con, $s['sql']);
		usleep(500000);
		pg_cancel_query($con);
		return ['error' => pg_connection_status($con) === PGSQL_CONNECTION_OK ? '57014' : 'connection lost'];
	},
	'cursor' => function ($s) use ($con) {
		pg_query($con, 'begin');
		pg_query($con, 'declare hsd_c cursor for ' . $s['sql']);
		$got = [];
		while ($some = pg_fetch_all_columns(pg_query($con, "fetch {$s['fetch']} from hsd_c"))) {
			$got = array_merge($got, $some);
		}
		pg_query($con, 'commit');
		return [(string) count($got), (string) array_sum($got)];
	},
	'listen' => function ($s) use ($con) {
		foreach ($s['sql'] as $sql) {
			pg_query($con, $sql);
		}
		$got = pg_get_notify($con);
		return [$got['message'], $got['payload']];
	},
	'large_in' => fn($s) => rows($s, ask($s['sql'], [str_repeat('y', $large)])),
];

$only = getenv('HSD_STEPS') ? explode(',', getenv('HSD_STEPS')) : null;
foreach (json_decode(file_get_contents(__DIR__ . '/../steps.json'), true) as $step) {
	if (!isset($ops[$step['op']]) || !isset($ops[$step['needs'] ?? $step['op']]) || ($only && !in_array($step['step'], $only))) {
		continue;
	}
	if (is_string($step['sql'])) {
		$step['sql'] = str_replace('{large}', (string) $large, $step['sql']);
	}
	echo json_encode(['step' => $step['step'], 'result' => $ops[$step['op']]($step)], JSON_UNESCAPED_UNICODE), "\n";
}
pg_close($con);
