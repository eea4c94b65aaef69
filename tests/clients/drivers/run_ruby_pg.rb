# ruby-pg (libpq): text and binary results, pipeline mode, single rows.
require 'digest'
require 'json'
require 'pg'

LARGE = (ENV['HSD_LARGE'] || 1000).to_i
CON = PG.connect(host: ENV['PGHOST'], port: ENV['PGPORT'], user: ENV['PGUSER'], dbname: ENV['PGDATABASE'], password: ENV['PGPASSWORD'],
                 sslmode: ENV['PGSSLMODE'], **(ENV['PGSSLROOTCERT'] ? { sslrootcert: ENV['PGSSLROOTCERT'] } : {}))
NOTICES = []
CON.set_notice_processor { |text| NOTICES << text }

def digest(text)
  Digest::SHA256.hexdigest(text)[0, 16]
end

def rows(step, result)
  got = result.values.map { |row| row.map { |c| c.nil? ? nil : c.encoding == Encoding::BINARY ? c.unpack1('H*') : c } }
  return got unless step['digest']
  [got.size.to_s, digest(got.map { |row| row.map { |c| c || '\N' }.join("\t") }.join("\n"))]
end

def error(failure)
  { error: failure.result ? failure.result.error_field(PG::PG_DIAG_SQLSTATE) : failure.message }
end

def attempt
  yield
rescue PG::Error => e
  error(e)
end

def texts(list)
  list.map { |v| v&.to_s }
end

OPS = {
  # "types" in binary, as hexadecimal.
  'query' => ->(s) { rows(s, s['step'] == 'types' ? CON.exec_params(s['sql'], [], 1) : CON.exec(s['sql'])) },
  'params' => ->(s) { rows(s, CON.exec_params(s['sql'], texts(s['params']))) },
  'prepared' => lambda { |s|
    CON.prepare('hsd_p', s['sql'])
    s['params'].map { |p| rows(s, CON.exec_prepared('hsd_p', texts(p))) }
  },
  'pipeline' => lambda { |s|
    CON.enter_pipeline_mode
    s['params'].each { |p| CON.send_query_params(s['sql'], texts(p)) }
    CON.pipeline_sync
    got = []
    failed = nil
    s['params'].each do
      result = CON.get_result
      failed ||= { error: result.error_field(PG::PG_DIAG_SQLSTATE) } if result.result_status == PG::PGRES_FATAL_ERROR
      got << result.getvalue(0, 0) if result.result_status == PG::PGRES_TUPLES_OK
      CON.get_result
    end
    CON.get_result # of the sync
    CON.exit_pipeline_mode
    failed || got
  },
  'sequence' => lambda { |s|
    s['sql'].map { |sql| attempt { r = CON.exec(sql); r.nfields.zero? ? nil : rows(s, r) } }
  },
  'copy_in' => lambda { |s|
    CON.copy_data(s['sql']) { (1..s['rows']).each { |i| CON.put_copy_data("#{i}\trow #{i}\n") } }
    nil
  },
  'copy_fails' => ->(s) { attempt { CON.copy_data(s['sql']) { CON.put_copy_data("x\ty\n") } } },
  'copy_out' => lambda { |s|
    text = +''
    CON.copy_data(s['sql']) { while (line = CON.get_copy_data) do text << line end }
    [text.count("\n").to_s, digest(text)]
  },
  'notice' => lambda { |s|
    NOTICES.clear
    CON.exec(s['sql'])
    NOTICES.map { |n| n[/(?:NOTICE|WARNING):\s+(.*)/, 1] }
  },
  'cancel' => lambda { |s|
    over = false
    thread = Thread.new { until over do sleep 0.3; CON.cancel unless over end }
    got = attempt { CON.exec(s['sql']) }
    over = true
    thread.join
    got
  },
  'cursor' => lambda { |s|
    got = []
    CON.transaction do
      CON.exec("declare hsd_c cursor for #{s['sql']}")
      loop do
        some = CON.exec("fetch #{s['fetch']} from hsd_c").column_values(0)
        break if some.empty?
        got += some
      end
    end
    [got.size.to_s, got.sum(&:to_i).to_s]
  },
  'transaction' => lambda { |s|
    CON.transaction { CON.exec(s['sql'][0]) }
    begin
      CON.transaction { CON.exec(s['sql'][1]); raise 'back' }
    rescue RuntimeError
      nil
    end
    rows(s, CON.exec(s['sql'][2]))
  },
  'listen' => lambda { |s|
    s['sql'].each { |sql| CON.exec(sql) }
    got = nil
    CON.wait_for_notify(10) { |channel, _, payload| got = [channel, payload] }
    got
  },
  'large_in' => ->(s) { rows(s, CON.exec_params(s['sql'], ['y' * LARGE])) }
}.freeze

$stdout.sync = true
only = ENV['HSD_STEPS']&.split(',')
JSON.parse(File.read(File.join(__dir__, '..', 'steps.json'))).each do |step|
  next unless OPS[step['op']] && OPS[step['needs'] || step['op']] && (only.nil? || only.include?(step['step']))
  step['sql'] = step['sql'].sub('{large}', LARGE.to_s) if step['sql'].is_a?(String)
  puts JSON.generate({ step: step['step'], result: OPS[step['op']].call(step) })
end
CON.close
