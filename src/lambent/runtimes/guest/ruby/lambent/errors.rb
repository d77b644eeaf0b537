# frozen_string_literal: true

module Lambent
  # Errors as Lambda reports them: {errorMessage, errorType, stackTrace}.
  module Errors
    TRACE_MAX = 100
    OURS = File.expand_path('..', __dir__)
    # Only these names are told apart in the header; the function's own classes are all one kind.
    COMMON = %w[ArgumentError NoMethodError Exception StandardError NameError LoadError SystemExit SystemStackError].freeze

    module_function

    # `phase` is Init, Function or Runtime.
    def document(error, phase)
      {
        errorMessage: error.message.to_s.encode('UTF-8', invalid: :replace, undef: :replace),
        errorType: "#{phase}<#{error.class}>",
        stackTrace: trace(error)
      }
    end

    def header_type(error, phase)
      COMMON.include?(error.class.to_s) ? "#{phase}<#{error.class}>" : 'Function<UserException>'
    end

    # The function's own frames: what lies below the first of ours is how it was called.
    def trace(error)
      lines = (error.backtrace || []).first(TRACE_MAX).map(&:to_s)
      lines.take_while { |line| !line.start_with?("#{OURS}/") }
    end
  end
end
