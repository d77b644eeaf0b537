# frozen_string_literal: true

module Lambent
  # What a handler can ask about its invocation. https://docs.aws.amazon.com/lambda/latest/dg/ruby-context.html
  class Context
    attr_reader :aws_request_id, :invoked_function_arn, :log_group_name, :log_stream_name, :function_name,
                :memory_limit_in_mb, :function_version, :identity, :client_context, :deadline_ms, :tenant_id

    def initialize(event)
      @deadline_ms = event['Lambda-Runtime-Deadline-Ms'].to_i
      @aws_request_id = event['Lambda-Runtime-Aws-Request-Id']
      @invoked_function_arn = event['Lambda-Runtime-Invoked-Function-Arn']
      @tenant_id = event['Lambda-Runtime-Aws-Tenant-Id']
      @log_group_name = ENV['AWS_LAMBDA_LOG_GROUP_NAME']
      @log_stream_name = ENV['AWS_LAMBDA_LOG_STREAM_NAME']
      @function_name = ENV['AWS_LAMBDA_FUNCTION_NAME']
      @memory_limit_in_mb = ENV['AWS_LAMBDA_FUNCTION_MEMORY_SIZE']
      @function_version = ENV['AWS_LAMBDA_FUNCTION_VERSION']
      @identity = parsed(event['Lambda-Runtime-Cognito-Identity'])
      @client_context = parsed(event['Lambda-Runtime-Client-Context'])
    end

    def get_remaining_time_in_millis # rubocop:disable Naming/AccessorMethodName -- AWS's name
      [@deadline_ms - Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond), 0].max
    end

    private

    def parsed(text)
      JSON.parse(text) unless text.nil? || text.empty?
    end
  end
end

LambdaContext = Lambent::Context unless defined?(LambdaContext)
