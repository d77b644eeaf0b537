"""AWS services that Lambent does not build itself, served by moto in a process of its own, or by real endpoints.

process        that process, seen from the server: started when needed, started again when it died
moto_process   what runs in it; the only code that imports moto
clients        Lambent itself as a client of services: `ports.Clients`
directory      who has which access key, and what their policies say
endpoints      services that the configuration sends to real endpoints
"""
