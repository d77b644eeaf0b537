# frozen_string_literal: true

require 'logger'

# Standard output is written at once, so that a line is not lost when the environment is frozen.
$stdout.sync = true

module Lambent
  # puts, Logger and errors: each message is one log event. Messages go as frames to the descriptor in
  # _LAMBDA_TELEMETRY_LOG_FD: four bytes of type, four of length, eight of microseconds, big-endian, then the message.
  module Logs
    TEXT_FRAME = 0xa55a0003
    JSON_FRAME = 0xa55a0002
    LEVELS = %w[TRACE DEBUG INFO WARN ERROR FATAL].freeze

    # Where Kernel#puts and loggers write.
    class Sink
      def initialize(descriptor)
        @file = descriptor && IO.for_fd(descriptor.to_i, 'wb', autoclose: false).tap { |file| file.sync = true }
      end

      def framed?
        !@file.nil?
      end

      def write(*messages)
        messages.sum do |message|
          message = message.to_s
          next $stdout.write(message) if @file.nil?

          now = Process.clock_gettime(Process::CLOCK_REALTIME, :microsecond)
          frame = Logs.json? && message.start_with?('{') ? JSON_FRAME : TEXT_FRAME
          @file.write([frame, message.bytesize].pack('L>L>') + [now].pack('q>') + message.b)
          message.bytesize
        end
      end

      def close; end
    end

    # AWS's line for Logger: its own format, with the request id in it.
    class TextFormatter < Logger::Formatter
      LINE = "%s, [%s #%d] %5s %s -- %s: %s\n"

      def call(severity, time, progname, message)
        format(LINE, severity[0], format_datetime(time), Process.pid, severity, $_global_aws_request_id, progname,
               msg2str(message)).encode('UTF-8', invalid: :replace, undef: :replace)
      end
    end

    # One JSON object for each message.
    class JsonFormatter < Logger::Formatter
      def call(severity, time, progname, message)
        line = { timestamp: time.utc.strftime('%Y-%m-%dT%H:%M:%S.%6NZ'), level: severity, message: text(message),
                 requestId: $_global_aws_request_id, tenantId: $_global_aws_tenant_id }
        line[:logger] = progname.to_s unless progname.to_s.empty?
        add_error(line, message) if message.is_a?(Exception)
        "#{JSON.generate(line.compact)}\n"
      end

      private

      def text(message)
        said = message.is_a?(Exception) ? message.message : msg2str(message)
        said.to_s.encode('UTF-8', invalid: :replace, undef: :replace)
      end

      def add_error(line, error)
        line.update(errorType: error.class.to_s, errorMessage: text(error), stackTrace: Array(error.backtrace))
      end
    end

    # Loggers that would write to the standard streams write log events.
    module LoggerPatch
      def initialize(logdev, *rest, level: nil, **options)
        standard = logdev.nil? || logdev == $stdout || logdev == $stderr
        level ||= Logs.level
        if standard
          super(Logs.sink, *rest, level: level, **options)
          @default_formatter = Logs.json? ? JsonFormatter.new : TextFormatter.new
        else
          super
        end
      end
    end

    class << self
      attr_reader :sink

      def install
        @json = ENV['AWS_LAMBDA_LOG_FORMAT'].to_s.casecmp?('JSON')
        @level = ENV.fetch('AWS_LAMBDA_LOG_LEVEL', nil)
        @sink = Sink.new(ENV.delete('_LAMBDA_TELEMETRY_LOG_FD'))
        Logger.prepend(LoggerPatch)
        replace_puts if @sink.framed?
      end

      def json?
        @json
      end

      # Of loggers that name none.
      def level
        wanted = @level == 'TRACE' ? 'DEBUG' : @level.to_s.upcase
        Logger.const_defined?(wanted) ? Logger.const_get(wanted) : Logger::DEBUG
      rescue NameError
        Logger::DEBUG
      end

      # An error that nothing in the function rescued.
      def error(what, document)
        if json?
          line = { timestamp: Time.now.utc.strftime('%Y-%m-%dT%H:%M:%S.%6NZ'), level: 'ERROR', message: what,
                   requestId: $_global_aws_request_id, **document }
          sink.write("#{JSON.generate(line.compact)}\n")
        else
          sink.write("#{what}\n")
          sink.write("#{JSON.pretty_generate(document)}\n")
        end
      end

      private

      def replace_puts
        Kernel.module_eval do
          def puts(*values)
            message = values.empty? ? '' : values.flatten.map { |value| value.to_s.encode('UTF-8', invalid: :replace, undef: :replace) }.join("\n")
            Lambent::Logs.sink.write("#{message}\n")
            nil
          end
        end
      end
    end
  end
end
