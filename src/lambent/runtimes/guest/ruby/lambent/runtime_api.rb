# frozen_string_literal: true

require 'socket'

module Lambent
  # One keep-alive connection to the Runtime API, on a bare socket: net/http costs 40 ms at start.
  class RuntimeApi
    ROOT = '/2018-06-01/runtime'

    class Gone < StandardError
    end

    # An answer; headers are found whatever their case.
    class Answer
      attr_reader :status, :body

      def initialize(status, headers, body)
        @status = status
        @headers = headers
        @body = body
      end

      def [](name)
        @headers[name.downcase]
      end
    end

    def initialize(address)
      @host, _, @port = address.rpartition(':')
      @socket = nil
    end

    def next_event
      answer = exchange("GET #{ROOT}/invocation/next HTTP/1.1\r\nHost: #{@host}\r\n\r\n")
      raise Gone, "it answered #{answer.status} instead of an event" unless answer.status == 200

      answer
    end

    def post_response(id, body, content_type = nil)
      data = body.respond_to?(:read) ? body.read : body
      post("/invocation/#{id}/response", data, "Content-Type: #{content_type || 'application/json'}\r\n")
    end

    def post_error(path, document, type)
      header = "Content-Type: application/json\r\nLambda-Runtime-Function-Error-Type: #{type}\r\n"
      post(path, JSON.generate(document), header)
    end

    private

    def post(path, data, headers)
      data = data.to_s.b
      exchange("POST #{ROOT}#{path} HTTP/1.1\r\nHost: #{@host}\r\n#{headers}Content-Length: #{data.bytesize}\r\n\r\n".b + data)
    end

    # A connection that served before may have been closed as idle during a long handler: it is opened again, once.
    def exchange(request)
      fresh = @socket.nil?
      @socket ||= connect
      @socket.write(request)
      read
    rescue EOFError, SystemCallError, IOError => e
      raise Gone, e.message if fresh

      @socket = nil
      fresh = true
      retry
    end

    def connect
      socket = TCPSocket.new(@host, @port.to_i)
      socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
      socket
    end

    def read
      status = line.split[1].to_i
      headers = {}
      while (text = line) && !text.empty?
        name, _, value = text.partition(':')
        headers[name.downcase] = value.strip
      end
      Answer.new(status, headers, body(headers).force_encoding(Encoding::UTF_8))
    end

    def body(headers)
      return chunks if headers['transfer-encoding']&.casecmp?('chunked')

      bytes(headers['content-length'].to_i)
    end

    def chunks
      data = ''.b
      while (size = line.to_i(16)).positive?
        data << bytes(size)
        line
      end
      nil until line.empty? # trailers
      data
    end

    def bytes(count)
      return ''.b if count.zero?

      data = @socket.read(count)
      raise EOFError, 'it closed the connection' if data.nil? || data.bytesize < count

      data
    end

    def line
      @socket.gets("\n")&.chomp || raise(EOFError, 'it closed the connection')
    end
  end
end
