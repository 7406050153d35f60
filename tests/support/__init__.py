"""What the tests share: clients, servers in processes of their own, and tables of cases."""
