# frozen_string_literal: true

# Lambda's Ruby runtime: loads the handler's file once, then asks the Runtime API for events and answers them, one at a time.

require 'json'
require_relative 'lambent/runtime_api'
require_relative 'lambent/context'
require_relative 'lambent/logs'
require_relative 'lambent/errors'

module Lambent
  # AWS's runtime lets a function replace how events and results are converted, under this name.
  module ::AwsLambda
    class Marshaller
      class << self
        def marshall_request(raw_request)
          raw_request['Content-Type'] == 'application/json' ? JSON.parse(raw_request.body) : raw_request.body
        end

        # An IO or StringIO is sent as it is; with it comes its content type.
        def marshall_response(response)
          response.respond_to?(:read) ? [response, 'application/unknown'] : response.to_json
        end
      end
    end
  end

  # Finds and calls "file.method", "dir/file.method" or "file.Class.method".
  class Handler
    attr_reader :file

    def initialize(name)
      @file, *rest = name.split('.')
      @method = rest.pop
      @class = rest.first
      return if @file && @method && rest.size < 2

      raise ArgumentError, "Invalid handler #{name.split('.')}, must be of form FILENAME.METHOD or FILENAME.CLASS.METHOD " \
                           'where FILENAME corresponds with an existing Ruby source file FILENAME.rb, CLASS is an optional ' \
                           'module/class namespace and METHOD is a callable method. If using CLASS, METHOD must be a ' \
                           'class-level method.'
    end

    def call(event, context)
      target = @class ? Kernel.const_get(@class) : TOPLEVEL_BINDING.receiver
      AwsLambda::Marshaller.marshall_response(target.__send__(@method, event: event, context: context))
    end
  end

  # The loop.
  class Runtime
    HANDLER_STATUS = 255 # what AWS's client exits with, as -1
    INIT_STATUS = 252 # -4

    def initialize(address)
      @api = RuntimeApi.new(address)
    end

    def run(root, handler_name)
      $LOAD_PATH.unshift(root) unless $LOAD_PATH.include?(root)
      handler = load_handler(handler_name)
      loop { serve(handler, @api.next_event) }
    end

    private

    def load_handler(name)
      handler = Handler.new(name)
      require handler.file
      handler
    rescue Exception => e # rubocop:disable Lint/RescueException -- the function's file may raise anything, exit included
      document = Errors.document(e, 'Init')
      Logs.error("Init error when loading handler #{name}", document)
      @api.post_error('/init/error', document, Errors.header_type(e, 'Init'))
      exit!(INIT_STATUS)
    end

    def serve(handler, event)
      id = event['Lambda-Runtime-Aws-Request-Id']
      $_global_aws_request_id = id
      $_global_aws_tenant_id = event['Lambda-Runtime-Aws-Tenant-Id']
      ENV['_X_AMZN_TRACE_ID'] = event['Lambda-Runtime-Trace-Id']
      body, content_type = handler.call(AwsLambda::Marshaller.marshall_request(event), Context.new(event))
      @api.post_response(id, body, content_type)
    rescue RuntimeApi::Gone
      raise
    rescue NameError => e # NoMethodError too
      fail_invocation(id, e, 'Critical exception from handler', last: true)
    rescue StandardError => e
      fail_invocation(id, e, 'Error raised from handler method', last: false)
    rescue Exception => e # rubocop:disable Lint/RescueException -- exit, NoMemoryError, SystemStackError
      fail_invocation(id, e, 'Critical exception from handler', last: true)
    end

    def fail_invocation(id, error, what, last:)
      document = Errors.document(error, 'Function')
      Logs.error(what, document)
      @api.post_error("/invocation/#{id}/error", document, Errors.header_type(error, 'Function'))
      exit!(HANDLER_STATUS) if last
    end
  end
end

Lambent::Logs.install
begin
  Lambent::Runtime.new(ENV.fetch('AWS_LAMBDA_RUNTIME_API')).run(
    ENV.fetch('LAMBDA_TASK_ROOT', '/var/task'), ENV.fetch('_HANDLER')
  )
rescue Lambent::RuntimeApi::Gone => e
  warn("The connection to the Runtime API is lost: #{e.message}")
  exit!(1)
end
